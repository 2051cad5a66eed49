#!/usr/bin/env python3
"""Writes chat_template_fixture.json: what transformers makes of conversations with tools, with templates in the style of
those that common models bring.

usage: make_chat_template_fixture.py   (needs: transformers, jinja2)
"""
import json
import pathlib

from transformers.utils.chat_template_utils import _compile_jinja_template

# By the family that writes templates this way. Each shows tools, calls and results as that family does.
TEMPLATES = {path.stem: path.read_text() for path in sorted(pathlib.Path(__file__).with_name("chat_templates").glob("*.jinja"))}

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": " The weather in a place, \"now\" & here <b>. ",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Größe 世界"},
                "days": {"type": "integer", "minimum": 1, "maximum": 1e3},
                "units": {"type": ["string", "null"], "enum": ["C", "F", None]},
                "points": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
                "extra": {"type": "object", "properties": {}, "additionalProperties": False},
            },
            "required": ["city", "days"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "", "parameters": {"type": "object", "properties": {}},
                                          "return": {"type": "string"}}}


def call(id, name, arguments):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


QUESTION = [{"role": "system", "content": " Be terse. /no_think"}, {"role": "user", "content": "Weather in \"Zürich\"?\n"}]
ONE_CALL = [*QUESTION, {"role": "assistant", "content": "", "tool_calls": [
    call("abcdefghi", "get_weather", {"city": "Zürich 世界 'q' \"d\"", "days": 2, "points": [[1, 2.5], []], "units": None, "x": True})]}]
RESULT = [*ONE_CALL, {"role": "tool", "tool_call_id": "abcdefghi", "name": "get_weather", "content": "{\"sky\": \"blue\"}"}]
CONVERSATIONS = [
    {"messages": QUESTION},
    {"messages": QUESTION, "tools": [WEATHER, CLOCK]},
    {"messages": QUESTION[1:], "tools": [CLOCK], "documents": [{"title": "a", "text": "one"}, {"title": "b", "text": "two"}]},
    {"messages": RESULT, "tools": [WEATHER]},
    {"messages": RESULT, "tools": [WEATHER], "variables": {"tools_in_user_message": False, "builtin_tools": ["get_weather", "code_interpreter"], "enable_thinking": False}},
    {"messages": [*QUESTION, {"role": "assistant", "content": "I look.", "tool_calls": [call("123456789", "clock", {}), call("abcdefghi", "get_weather", {"city": "Uri"})]},
                  {"role": "tool", "tool_call_id": "123456789", "content": "12:00"}, {"role": "tool", "tool_call_id": "abcdefghi", "content": "rain"}],
     "tools": [CLOCK, WEATHER]},
    {"messages": [*RESULT, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nIt is blue.", "reasoning_content": "hm"}, {"role": "user", "content": "Thanks"}],
     "variables": {"controls": {"length": "short"}}, "add_generation_prompt": False},
    {"messages": [{"role": "system", "content": "S", "tools": "[]"}, {"role": "user", "content": "U", "name": "ann"}]},
]
# What these templates want of their messages, which Quire finds out by itself.
PARTS, TEXT_ARGUMENTS = {"parts"}, {"deepseek"}


def adapt(name, messages):
    messages = json.loads(json.dumps(messages))
    for message in messages:
        if name in PARTS:
            message["content"] = [{"type": "text", "text": message["content"]}]
        for one in message.get("tool_calls", []) if name in TEXT_ARGUMENTS else []:
            one["function"]["arguments"] = json.dumps(one["function"]["arguments"])
    return messages


def render(name, template, conversation):
    """The prompt, or null where the template fails."""
    try:
        return _compile_jinja_template(template).render(
            bos_token="<s>", eos_token="</s>", **conversation.get("variables", {}), messages=adapt(name, conversation["messages"]),
            tools=conversation.get("tools"), documents=conversation.get("documents"),
            add_generation_prompt=conversation.get("add_generation_prompt", True))
    except Exception:  # Whatever it is: the conversation is refused.
        return None


def main():
    prompts = [{"template": name, "conversation": i, "prompt": render(name, template, conversation)}
               for name, template in TEMPLATES.items() for i, conversation in enumerate(CONVERSATIONS)]
    wire = json.loads(json.dumps(CONVERSATIONS))
    for conversation in wire:  # As clients send them: arguments are text.
        for message in conversation["messages"]:
            for one in message.get("tool_calls", []):
                one["function"]["arguments"] = json.dumps(one["function"]["arguments"])
    out = pathlib.Path(__file__).parent / "chat_template_fixture.json"
    fixture = {"templates": TEMPLATES, "conversations": wire, "prompts": prompts}
    out.write_text(json.dumps(fixture, ensure_ascii=True, separators=(",", ":")).replace('},{"', '},\n{"') + "\n")
    print(f"{out}: {len(prompts)} prompts, {sum(p['prompt'] is None for p in prompts)} refused")


if __name__ == "__main__":
    main()
