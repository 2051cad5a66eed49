// Boost.Asio's coroutines, in the one form that this folder uses.
//
// gcc 12 destroys temporaries of an expression with co_await in it twice, and forgets where it was in a loop whose
// condition has one. So: co_await stands in a statement of its own; lambdas, strings and the like that it is to pass on
// get names before it; loops await in their bodies. tests/tidy looks for the worst of it.
#pragma once

// clang-format off
#include <utility>  // First: Boost 1.74's awaitable.hpp needs it and does not include it.
// clang-format on

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace quire {

namespace asio = boost::asio;

// What an operation that ends with an error is awaited with, where that error is no exception.
inline auto Into(boost::system::error_code& error) { return asio::redirect_error(asio::use_awaitable, error); }

}  // namespace quire
