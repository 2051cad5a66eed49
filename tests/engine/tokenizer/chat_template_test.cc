#include "engine/tokenizer/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace quire {
namespace {

using testing::HasSubstr;

absl::StatusOr<std::string> Render(std::string_view source, const Conversation& conversation = {
                                                                .messages = Json::array({TextMessage("user", "Hi")})}) {
  auto made = ChatTemplate::Make(source, "<s>", "</s>");
  if (!made.ok()) return made.status();
  return (*made)->Render(conversation);
}

std::string Repeat(std::string_view unit, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += unit;
  return text;
}

void ExpectRefused(std::string_view source, const std::string& words) {
  SCOPED_TRACE(source.substr(0, 200));
  const auto prompt = Render(source);
  EXPECT_EQ(prompt.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(prompt.status().message()), HasSubstr(words));
}

TEST(ChatTemplate, RendersMessagesAndTheTokensAroundThem) {
  EXPECT_EQ(
      *Render("{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m['content'] }}{{ eos_token }}\n{% endfor %}"
              "{% if add_generation_prompt %}[assistant]{% endif %}",
              {.messages = Json::array({TextMessage("user", "Grüß 世界"), TextMessage("assistant", "")})}),
      "<s>[user] Grüß 世界</s>\n[assistant] </s>\n[assistant]");
}

TEST(ChatTemplate, NeverReadsMessagesAsTemplates) {
  EXPECT_EQ(
      *Render("{{ messages[0].content }}", {.messages = Json::array({TextMessage("user", "{{ 7 * 7 }}{% raw %}")})}),
      "{{ 7 * 7 }}{% raw %}");
}

TEST(ChatTemplate, PassesOnTheTemplatesOwnWords) {
  const auto prompt = Render("{{ raise_exception('Roles must alternate, ' ~ messages[0].role) }}");
  EXPECT_EQ(prompt.status(),
            absl::InvalidArgumentError("the chat template refuses these messages: Roles must alternate, user"));
}

TEST(ChatTemplate, SaysWhatIsWrongAndInWhichLine) {
  ExpectRefused("a\nb\n{{ 1 + 'x' }}", "line 3: '+' does not go with values of types int and string");
  ExpectRefused("{{ x.y }}", "line 1: what is undefined has no items");
  ExpectRefused("\n{{ 'x'|frobnicate }}", "line 2: the filter \"frobnicate\" is not supported");
  ExpectRefused("{% include 'x' %}", "the statement {% include %} is not supported");
  ExpectRefused("{{ f() }}", "f is not a function");
  ExpectRefused("{{ 'x'.frobnicate() }}", "a string has no method \"frobnicate\"");
  ExpectRefused("{{ 1 // 0 }}", "division by zero");
  ExpectRefused("{{ 5 is divisibleby(0) }}", "a divisor that is not 0");
  ExpectRefused("{{ 9223372036854775807 + 1 }}", "too large");
  ExpectRefused("{{ (-9223372036854775807 - 1) // -1 }}", "too large");
  ExpectRefused("{{ 99999999999999999999 }}", "too large");
  ExpectRefused("{% break %}", "outside of a loop");
}

TEST(ChatTemplate, RefusesWhatDoesNotParse) {
  for (const char* source : {"{{",
                             "{%",
                             "{#",
                             "{{ 'a",
                             "{{ 1 +",
                             "{{ a.",
                             "{{ a[",
                             "{{ a[1:2:3:4] }}",
                             "{{ f(",
                             "{{ {'a' }}",
                             "{% if %}",
                             "{% if x %}",
                             "{% endif %}",
                             "{% else %}",
                             "{% for x %}",
                             "{% for x in y %}",
                             "{% set %}",
                             "{% set x %}",
                             "{% macro f %}",
                             "{% macro f( %}",
                             "{{ x is }}",
                             "{{ x| }}",
                             "{{ 1 2 }}",
                             "{{ } }}",
                             "{% %}",
                             "{{ }}",
                             "{{ \xFF }}",
                             "{% filter x %}",
                             "{{ @ }}"}) {
    ExpectRefused(source, "");
  }
}

TEST(ChatTemplate, RefusesNestingThatWouldOverflowAStack) {
  const int n = 50'000;
  for (const char* unit : {"(", "[", "-", "not ", "x[", "f(", "1 if 1 else ", "1 if (", "x|default("}) {
    ExpectRefused("{{ " + Repeat(unit, n) + " }}", "nested too deeply");
  }
  ExpectRefused("{{ " + Repeat("{'a':", n) + "1" + Repeat("}", n) + " }}", "nested too deeply");
  for (const char* chain : {"+1", "~1", "*1", " and 1", " or 1", ".x", "[0]", "|d", "()", "**1", " is none"}) {
    ExpectRefused("{{ x" + Repeat(chain, n) + " }}", "nested too deeply");
  }
  for (const char* tag : {"{% if 1 %}", "{% for a in b %}", "{% macro a() %}", "{% set a %}", "{% filter d %}"}) {
    ExpectRefused(Repeat(tag, n / 2), "nested too deeply");
  }
  ExpectRefused("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "calls itself without end");
  ExpectRefused("{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}",
                "nested too deeply");
}

TEST(ChatTemplate, TakesManyBranchesBesideEachOther) {
  EXPECT_EQ(*Render("{% if false %}" + Repeat("{% elif false %}", 1000) + "{% else %}x{% endif %}"), "x");
}

TEST(ChatTemplate, RefusesToHoldANamespaceInsideItself) {
  ExpectRefused("{% set ns = namespace() %}{% set ns.x = ns %}", "namespace");
  ExpectRefused("{% set ns = namespace() %}{% set ns.x = [ns] %}", "namespace");
}

// Each of these would take minutes or gigabytes.
TEST(ChatTemplate, StopsATemplateThatDoesMoreThanAChatTemplateMay) {
  const std::string big = "{% set x = 'aaaaaaaaaaaaaaaa' %}" + Repeat("{% set x = x ~ x %}", 16);  // 1 MiB
  for (const std::string& source : std::vector<std::string>{
           "{% for i in range(1000000000) %}{% endfor %}",
           "{% for i in range(9223372036854775807) %}x{% endfor %}",
           "{{ range(0, -9223372036854775807, -1) }}",
           "{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}{% endfor %}{% endfor %}{% "
           "endfor %}",
           "{{ 'x' * 1000000000 }}",
           "{{ ['x'] * 1000000000 }}",
           "{% set x = 'x' %}" + Repeat("{% set x = x + x %}", 60),
           "{% set x = ['x'] %}" + Repeat("{% set x = x + x %}", 60),
           "{% set x = ['x'] %}" + Repeat("{% set x = [x, x] %}", 60) + "{{ x }}",
           "{% set x = ['x'] %}" + Repeat("{% set x = [x, x] %}", 60) + "{{ x|tojson }}",
           "{% set x = ['x'] %}{% set y = ['x'] %}" + Repeat("{% set x = [x, x] %}{% set y = [y, y] %}", 60) +
               "{{ x == y }}",
           "{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
           big + "{{ x.replace('a', x) }}",
           big + "{{ x.replace('a', '\\na')|indent(256) }}",
           big + "{{ x|list|join(x) }}",
           big + "{{ x.split('a')|join(x) }}",
           big + "{{ x.strip(x) }}",
           big + "{{ '%s%s%s%s'|format(x, x, x, x)|replace('a', x) }}",
           big + "{% for i in range(100000) %}{{ x.count('b') }}{% endfor %}",
           big + "{{ [x] * 1000000 }}",
           big + "{% for c in x %}{% for d in x %}{% endfor %}{% endfor %}",
           big + "{{ range(100000)|map('string')|map('replace', '1', x)|list }}",
           "{% set x = range(100000)|list %}{{ x|unique|list }}",
           "{% set x = range(10000)|list %}{% for i in x %}{{ i in x }}{% endfor %}{% for i in x %}{{ x == x[0:] }}{% "
           "endfor %}",
       }) {
    ExpectRefused(source, "more work than a chat template may");
  }
}

TEST(ChatTemplate, GivesVariablesOfTheRequestToTheTemplate) {
  const std::string source = "{{ enable_thinking }} {{ bos_token }} {{ level + 1 }} {{ tools is none }}{{ documents }}";
  Conversation conversation;
  conversation.variables = {{"enable_thinking", false}, {"level", 2}, {"bos_token", "<b>"}, {"tools", "no"}};
  EXPECT_EQ(*Render(source, conversation), "False <b> 3 TrueNone");
}

TEST(ChatTemplate, EndsWithTheLastMessageWhereThatIsToBeContinued) {
  const std::string source =
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}"
      "{% if add_generation_prompt %}<assistant>{% endif %}";
  const std::string stripping = "{% for m in messages %}<{{ m.role }}>{{ m.content|trim }}<end>{% endfor %}";
  Conversation conversation = {
      .messages = Json::array({TextMessage("user", "Once"), TextMessage("assistant", " Once upon ")}),
      .add_generation_prompt = false,
      .continue_final_message = true};
  EXPECT_EQ(*Render(source, conversation), "<user>Once<end><assistant> Once upon ");
  EXPECT_EQ(*Render(stripping, conversation), "<user>Once<end><assistant>Once upon");
  conversation.messages.back()["content"] = "";
  EXPECT_THAT(std::string(Render(source, conversation).status().message()), HasSubstr("no text"));
}

TEST(ChatTemplate, LeavesArgumentsThatAreNoJsonAsTheyAre) {
  Conversation conversation = {.messages = Json::array({TextMessage("assistant", "")})};
  Json function = {{"name", "f"}, {"arguments", "{\"a\": [1"}};
  conversation.messages[0]["tool_calls"] = Json::array({{{"function", function}}, {{"function", 1}}, 2});
  EXPECT_EQ(*Render("{{ messages[0].tool_calls[0].function.arguments }}", conversation), "{\"a\": [1");
}

TEST(ChatTemplate, HasRoomForLongConversations) {
  const std::string content = Repeat("0123456789", 10'000);
  const Conversation conversation = {.messages = Json::array_t(200, TextMessage("user", content))};  // 20 MB
  const auto prompt = Render(
      "{% for m in messages %}{% set c = m.content|trim %}{{ '<|im_start|>' + m.role + '\\n' + c.replace('x', 'y') + "
      "'<|im_end|>\\n' }}"
      "{% endfor %}",
      conversation);
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_GT(prompt->size(), 20'000'000u);
}

TEST(ChatTemplate, RefusesASourceOfManyMegabytes) { ExpectRefused(std::string(2 << 20, 'x'), "2097152 bytes"); }

}  // namespace
}  // namespace quire
