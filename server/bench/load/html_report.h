// The results of a run under load as one HTML page with charts: no script, and nothing that is loaded from elsewhere.
#pragma once

#include <string>

#include "server/bench/load/load_report.h"

namespace quire {

std::string ToHtml(const LoadReport& report);

}  // namespace quire
