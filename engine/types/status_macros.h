// RETURN_IF_ERROR and ASSIGN_OR_RETURN, which Debian's abseil does not carry yet.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define RETURN_IF_ERROR(expression)                        \
  do {                                                     \
    if (absl::Status quire_status = (expression); !quire_status.ok()) return quire_status; \
  } while (false)

#define QUIRE_CONCAT_INNER(a, b) a##b
#define QUIRE_CONCAT(a, b) QUIRE_CONCAT_INNER(a, b)
#define ASSIGN_OR_RETURN(target, expression) \
  QUIRE_ASSIGN_OR_RETURN(QUIRE_CONCAT(quire_or_, __LINE__), target, expression)
#define QUIRE_ASSIGN_OR_RETURN(value_or, target, expression) \
  auto value_or = (expression);                              \
  if (!value_or.ok()) return std::move(value_or).status();   \
  target = *std::move(value_or)
