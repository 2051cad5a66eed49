// Stands in for xgrammar's own log (support/logging.h), which it pretends to have included already: the build puts it
// in front of each of xgrammar's files. What is fatal there throws, with the message and nothing else; so does what is
// merely warned of, since xgrammar warns where it goes on without something that was asked for.
#pragma once
#define XGRAMMAR_SUPPORT_LOGGING_H_

// What xgrammar's files expect the other one to have included.
#include <ctime>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>

namespace xgrammar {

class LogFatalError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Throws when it is destroyed, at the end of the statement that filled the stream.
class LogFatal {
 public:
  LogFatal() = default;
  LogFatal(const LogFatal&) = delete;
  [[noreturn]] ~LogFatal() noexcept(false) { throw LogFatalError(stream_.str()); }
  std::ostringstream& stream() { return stream_; }

 private:
  std::ostringstream stream_;
};

class LogNothing {
 public:
  std::ostringstream& stream() { return stream_; }

 private:
  std::ostringstream stream_;
};

}  // namespace xgrammar

#define XGRAMMAR_LOG_INFO ::xgrammar::LogNothing().stream()
#define XGRAMMAR_LOG_DEBUG ::xgrammar::LogNothing().stream()
#define XGRAMMAR_LOG_WARNING ::xgrammar::LogFatal().stream() << "it is refused rather than changed: "
#define XGRAMMAR_LOG_FATAL ::xgrammar::LogFatal().stream()
#define XGRAMMAR_LOG(level) XGRAMMAR_LOG_##level
#define XGRAMMAR_CHECK(x) \
  if (!(x)) ::xgrammar::LogFatal().stream()
#define XGRAMMAR_ICHECK(x) \
  if (!(x)) ::xgrammar::LogFatal().stream() << "internal check failed: " #x " "
#define XGRAMMAR_DCHECK(x) \
  while (false) XGRAMMAR_ICHECK(x)
