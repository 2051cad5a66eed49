// GET /: the page of server/http/web/, for people with a browser.
#pragma once

#include "server/http/http_message.h"

namespace quire {

HttpResponse WebPage();

}  // namespace quire
