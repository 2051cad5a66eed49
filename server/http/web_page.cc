#include "server/http/web_page.h"

namespace quire {

// Made from web/index.html by CMake.
extern const char kIndexHtml[];

HttpResponse WebPage() {
  HttpResponse response;
  response.body = kIndexHtml;
  response.content_type = "text/html; charset=utf-8";
  // What a page shows was written by a model and its users: it loads nothing, and talks to nobody but this server.
  response.headers = {{"Content-Security-Policy",
                       "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
                       "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Cache-Control", "no-cache"}};
  return response;
}

}  // namespace quire
