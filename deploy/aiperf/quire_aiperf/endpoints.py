"""What aiperf's conversations look like in quire.v1, and what the answers say."""

from aiperf.common.models import ParsedResponse
from aiperf.endpoints.openai_chat import ChatEndpoint
from aiperf.endpoints.openai_completions import CompletionsEndpoint

from quire_aiperf import wire


class _ReadsGenerateResponses:
    """Both methods answer with a stream of the same message."""

    def parse_response(self, response):
        message = response.get_json()
        if not message:
            return None
        data = self.make_text_response_data(message.get("text"))
        usage = message.get("usage")
        return ParsedResponse(perf_ns=response.perf_ns, data=data, usage=usage) if data or usage else None


class QuireChatEndpoint(_ReadsGenerateResponses, ChatEndpoint):
    def format_payload(self, request_info):
        return wire.chat_request(super().format_payload(request_info))


class QuireGenerateEndpoint(_ReadsGenerateResponses, CompletionsEndpoint):
    def format_payload(self, request_info):
        return wire.generate_request(super().format_payload(request_info))
