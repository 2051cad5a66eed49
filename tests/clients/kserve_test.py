"""The Open Inference Protocol (KServe v2), spoken by Triton's own client."""

import asyncio
import json
import queue
import threading
import time
import unittest

import grpc
import numpy
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from quire_server import MODEL_NAME, QuireServer

PATIENCE_S = 30
GREEDY = {"temperature": 0, "max_tokens": 8}
LONG = {"temperature": 0, "max_tokens": 1500, "ignore_eos": True}


def setUpModule():
    global server
    server = QuireServer("--max-num-seqs", "8", "--max-waiting-requests", "200").__enter__()


def tearDownModule():
    server.stop()


def tensor(name, value):
    if isinstance(value, bool):
        made = triton.InferInput(name, [1], "BOOL")
        made.set_data_from_numpy(numpy.array([value], dtype=bool))
    else:
        made = triton.InferInput(name, [1], "BYTES")
        made.set_data_from_numpy(numpy.array([value.encode() if isinstance(value, str) else value], dtype=object))
    return made


def inputs(text, parameters=None, **switches):
    made = [tensor("text_input", text), *(tensor(name, value) for name, value in switches.items())]
    return made if parameters is None else [*made, tensor("sampling_parameters", json.dumps(parameters))]


def texts(result, name="text_output"):
    return [element.decode() for element in result.as_numpy(name)]


def is_final(result):
    return result.get_response().parameters["triton_final_response"].bool_param


class ClientCase(unittest.TestCase):
    def setUp(self):
        self.client = triton.InferenceServerClient(server.grpc_target)
        self.addCleanup(self.client.close)

    def infer(self, text, parameters=None, **switches):
        return self.client.infer(MODEL_NAME, inputs(text, parameters, exclude_input_in_output=True, **switches))

    def await_idle(self):
        with grpc.insecure_channel(server.grpc_target) as channel:
            stats = channel.unary_unary("/quire.v1.AdminService/GetStats")
            deadline = time.monotonic() + PATIENCE_S
            # Protobuf leaves zeros out: fields 1 and 2, requests running and waiting, stand first unless they are.
            while stats(b"").startswith((b"\x08", b"\x10")):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)


class InferTest(ClientCase):
    def test_the_server_tells_what_it_is_and_serves(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())
        self.assertTrue(self.client.is_model_ready(MODEL_NAME))
        self.assertTrue(self.client.is_model_ready(MODEL_NAME, "1"))
        self.assertFalse(self.client.is_model_ready(MODEL_NAME, "2"))
        self.assertFalse(self.client.is_model_ready("no-such"))
        self.assertEqual(self.client.get_server_metadata().name, "quire")
        metadata = self.client.get_model_metadata(MODEL_NAME)
        self.assertEqual(metadata.inputs[0].name, "text_input")
        self.assertEqual(metadata.outputs[0].name, "text_output")
        config = self.client.get_model_config(MODEL_NAME).config
        self.assertTrue(config.model_transaction_policy.decoupled)
        self.assertEqual([input.name for input in config.input], [input.name for input in metadata.inputs])
        index = self.client.get_model_repository_index()
        self.assertEqual([(model.name, model.state) for model in index.models], [(MODEL_NAME, "READY")])

    def test_what_is_not_offered_is_unimplemented(self):
        for call in (self.client.get_inference_statistics, self.client.get_trace_settings,
                     lambda: self.client.load_model("other"), self.client.get_cuda_shared_memory_status):
            with self.assertRaises(InferenceServerException) as refused:
                call()
            self.assertIn("UNIMPLEMENTED", refused.exception.status())

    def test_one_call_gives_the_whole_answer(self):
        result = self.client.infer(MODEL_NAME, inputs("One, two, three,", GREEDY), request_id="mine")
        self.assertEqual(result.get_response().id, "mine")
        self.assertTrue(is_final(result))
        whole, = texts(result)
        self.assertTrue(whole.startswith("One, two, three,"), whole)
        rest, = texts(self.infer("One, two, three,", GREEDY))
        self.assertEqual("One, two, three," + rest, whole)
        self.assertIn("four", rest)

    def test_samples_and_counts_are_elements_of_the_outputs(self):
        result = self.infer("Once", {"n": 3, "seed": 1, "max_tokens": 5}, return_finish_reason=True,
                            return_num_input_tokens=True, return_num_output_tokens=True)
        self.assertEqual(len(set(texts(result))), 3)
        self.assertEqual(texts(result, "finish_reason"), ["length"] * 3)
        self.assertEqual(result.as_numpy("num_output_tokens").tolist(), [5] * 3)
        self.assertEqual(result.as_numpy("num_input_tokens").tolist(), [1])

    def test_parameters_are_read_as_the_backend_of_vllm_does(self):
        self.assertEqual(texts(self.infer("One, two, three,", {"temperature": "0.0", "max_tokens": "8"})),
                         texts(self.infer("One, two, three,", GREEDY)))
        self.assertEqual(texts(self.infer("One, two, three,", {**GREEDY, "stop": " five"})),
                         texts(self.infer("One, two, three,", {**GREEDY, "stop": [" five"]})))
        counted = self.infer("Once", {"ignore_eos": True}, return_num_output_tokens=True)
        self.assertEqual(counted.as_numpy("num_output_tokens").tolist(), [16])

    def test_contents_beside_the_tensors_are_read_too(self):
        request = triton.service_pb2.ModelInferRequest(model_name=MODEL_NAME)
        text = request.inputs.add(name="text_input", datatype="BYTES", shape=[1])
        text.contents.bytes_contents.append(b"One, two, three,")
        exclude = request.inputs.add(name="exclude_input_in_output", datatype="BOOL", shape=[1, 1])
        exclude.contents.bool_contents.append(True)
        parameters = request.inputs.add(name="sampling_parameters", datatype="BYTES", shape=[1])
        parameters.contents.bytes_contents.append(json.dumps(GREEDY).encode())
        response = self.client._client_stub.ModelInfer(request)
        self.assertEqual([response.raw_output_contents[0][4:].decode()], texts(self.infer("One, two, three,", GREEDY)))

    def test_mistakes_name_the_tensor(self):
        good = tensor("text_input", "Hi")
        wide = triton.InferInput("text_input", [2], "BYTES")
        wide.set_data_from_numpy(numpy.array([b"a", b"b"], dtype=object))
        number = triton.InferInput("text_input", [1], "INT32")
        number.set_data_from_numpy(numpy.array([1], dtype=numpy.int32))
        for wrong, named in (
            ([], "text_input"),
            ([wide], "shape [2]"),
            ([number], "INT32"),
            ([tensor("text_input", b"\xff\xfe")], "UTF-8"),
            ([good, good], "text_input must be there only once"),
            ([good, tensor("temperature", True)], "temperature is not an input"),
            ([good, tensor("stream", True)], "stream must be false"),
            ([good, tensor("return_logprobs", True)], "return_logprobs"),
            (inputs("Hi", {"top_p": 7}), "sampling_parameters.top_p must be in"),
            (inputs("Hi", {"temperature": "hot"}), "temperature"),
            (inputs("Hi", {"temprature": 1}), "temprature"),
            (inputs("Hi", [1]), "must be a JSON object"),
            ([good, tensor("sampling_parameters", "{")], "must be a JSON object"),
            ([good, tensor("sampling_parameters", "[" * 60000)], "must be a JSON object"),
            ([good, tensor("sampling_parameters", " " * 70000)], "bytes long"),
            (inputs("word " * 1_000_000), "text_input must fit into"),
        ):
            with self.assertRaises(InferenceServerException) as refused:
                self.client.infer(MODEL_NAME, wrong)
            self.assertIn(named, refused.exception.message())
            self.assertIn("INVALID_ARGUMENT", refused.exception.status())
        with self.assertRaises(InferenceServerException) as unknown:
            self.client.infer("no-such", [good])
        self.assertIn(MODEL_NAME, unknown.exception.message())
        with self.assertRaises(InferenceServerException):
            self.client.infer(MODEL_NAME, [good], model_version="3")
        raw = triton.service_pb2.ModelInferRequest(model_name=MODEL_NAME)
        raw.inputs.add(name="text_input", datatype="BYTES", shape=[1])
        for contents in ([b""], [b"\x05\0\0\0abc"], [b"\xff\xff\xff\xff"], [b"", b""]):
            del raw.raw_input_contents[:]
            raw.raw_input_contents.extend(contents)
            with self.assertRaises(Exception) as refused:
                self.client._client_stub.ModelInfer(raw)
            self.assertIn("text_input" if len(contents) == 1 else "raw_input_contents", refused.exception.details())

    def test_a_cancelled_or_late_call_ends(self):
        errors = queue.Queue()
        call = self.client.async_infer(MODEL_NAME, inputs("A story:", LONG), lambda result, error: errors.put(error))
        call.cancel()
        self.assertIsNotNone(errors.get(timeout=PATIENCE_S))
        with self.assertRaises(InferenceServerException):
            self.client.infer(MODEL_NAME, inputs("A story:", LONG), client_timeout=0.3)
        self.await_idle()


class StreamTest(ClientCase):
    def setUp(self):
        super().setUp()
        self.results = queue.Queue()
        self.client.start_stream(callback=lambda result, error: self.results.put((result, error)))
        self.addCleanup(self.client.stop_stream, cancel_requests=True)

    def send(self, request_id, text, parameters, **switches):
        self.client.async_stream_infer(MODEL_NAME, inputs(text, parameters, **switches), request_id=request_id)

    def result(self):
        result, error = self.results.get(timeout=PATIENCE_S)
        if error is not None:
            raise error
        return result

    def read_answers(self, count):
        """Texts of `count` whole answers by id, and how many responses each came in."""
        answers, pieces, over = {}, {}, 0
        while over < count:
            result = self.result()
            request_id = result.get_response().id
            answers[request_id] = answers.get(request_id, "") + "".join(texts(result))
            pieces[request_id] = pieces.get(request_id, 0) + 1
            over += is_final(result)
        return answers, pieces

    def test_an_answer_streams(self):
        self.send("a", "One, two, three,", GREEDY, stream=True)
        answers, pieces = self.read_answers(1)
        self.assertEqual(answers["a"], texts(self.infer("One, two, three,", GREEDY))[0])
        self.assertGreater(pieces["a"], 3)

    def test_without_streaming_there_is_one_response(self):
        self.send("a", "One, two, three,", GREEDY, exclude_input_in_output=True)
        answers, pieces = self.read_answers(1)
        self.assertEqual((answers["a"], pieces["a"]), (texts(self.infer("One, two, three,", GREEDY))[0], 1))

    def test_requests_of_one_stream_run_at_once(self):
        self.send("long", "A story:", {**LONG, "max_tokens": 100}, stream=True)
        self.result()
        self.send("short", "One, two, three,", GREEDY, stream=True)
        order = []
        while len(order) < 2:
            result = self.result()
            if is_final(result):
                order.append(result.get_response().id)
        self.assertEqual(order, ["short", "long"])

    def test_more_requests_than_a_stream_may_have_are_all_answered(self):
        for i in range(150):
            self.send(str(i), "One, two, three,", {**GREEDY, "max_tokens": 3}, stream=bool(i % 2),
                      exclude_input_in_output=True)
        answers, _ = self.read_answers(150)
        self.assertEqual(len(answers), 150)
        self.assertEqual(len(set(answers.values())), 1)

    def test_a_mistake_is_answered_and_the_stream_goes_on(self):
        self.send("bad", "Hi", {"top_p": 7}, stream=True)
        with self.assertRaises(InferenceServerException) as refused:
            self.result()
        self.assertIn("sampling_parameters.top_p", refused.exception.message())
        self.send("both", "Hi", GREEDY, stream=True, exclude_input_in_output=False)
        with self.assertRaises(InferenceServerException) as refused:
            self.result()
        self.assertIn("exclude_input_in_output", refused.exception.message())
        self.send("good", "One, two, three,", GREEDY, stream=True)
        self.assertIn("four", self.read_answers(1)[0]["good"])

    def test_closing_the_sending_side_still_brings_every_answer(self):
        for i in range(5):
            self.send(str(i), "One, two, three,", GREEDY, stream=True)
        self.client.stop_stream()
        self.assertEqual(len(self.read_answers(5)[0]), 5)

    def test_a_cancelled_stream_ends_its_requests(self):
        for i in range(20):
            self.send(str(i), "A story:", LONG, stream=True)
        self.result()
        self.client.stop_stream(cancel_requests=True)
        self.await_idle()


class MetadataTest(unittest.TestCase):
    def test_a_refusal_is_all_trailers_so_that_gateways_take_it_elsewhere(self):
        with grpc.insecure_channel(server.grpc_target) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            call = stub.ModelInfer.future(service_pb2.ModelInferRequest(model_name="x"), metadata=[("x-request-id", "mine")])
            self.assertEqual(call.exception(PATIENCE_S).code(), grpc.StatusCode.NOT_FOUND)
            self.assertEqual(list(call.initial_metadata()), [])
            self.assertEqual(dict(call.trailing_metadata())["x-request-id"], "mine")


class AsyncTest(unittest.IsolatedAsyncioTestCase):
    async def test_streams_side_by_side(self):
        async with triton_aio.InferenceServerClient(server.grpc_target) as client:

            async def ask():
                async def requests():
                    yield {"model_name": MODEL_NAME, "request_id": "x",
                           "inputs": inputs("One, two, three,", GREEDY, stream=True)}

                text = ""
                async for result, error in client.stream_infer(requests()):
                    self.assertIsNone(error)
                    text += texts(result)[0]
                return text

            answers = await asyncio.gather(*(ask() for _ in range(16)))
        self.assertEqual(len(set(answers)), 1)
        self.assertIn("four", answers[0])


class DrainTest(unittest.TestCase):
    def test_a_server_that_shuts_down_is_not_ready_and_finishes_what_it_has(self):
        with QuireServer() as ending:
            client = triton.InferenceServerClient(ending.grpc_target)
            results = queue.Queue()
            client.start_stream(callback=lambda result, error: results.put((result, error)))
            client.async_stream_infer(MODEL_NAME, inputs("A story:", {**LONG, "max_tokens": 200}, stream=True),
                                      request_id="running")
            results.get(timeout=PATIENCE_S)
            stopping = threading.Thread(target=ending.stop)
            stopping.start()
            deadline = time.monotonic() + PATIENCE_S
            while client.is_server_ready():
                self.assertLess(time.monotonic(), deadline)
            client.async_stream_infer(MODEL_NAME, inputs("Hi", GREEDY), request_id="late")
            refused, over = 0, False
            while not over:
                result, error = results.get(timeout=PATIENCE_S)
                refused += error is not None
                over = error is None and is_final(result)
            self.assertEqual(refused, 1)
            client.stop_stream()
            stopping.join()
            self.assertEqual(ending.process.returncode, 0)


if __name__ == "__main__":
    unittest.main()
