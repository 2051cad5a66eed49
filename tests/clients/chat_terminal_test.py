"""`quire chat` as a person at a terminal meets it: through a pseudo-terminal."""

import json
import os
import pathlib
import pty
import re
import select
import signal
import stat
import subprocess
import tempfile
import termios
import time
import unittest

from quire_server import BINARY, MODEL_NAME, QuireServer

PATIENCE_S = 20
CTRL_C, CTRL_D, UP = b"\x03", b"\x04", b"\x1b[A"
PROMPT = "> "


def setUpModule():
    global server
    server = QuireServer().__enter__()


def tearDownModule():
    server.stop()


class Terminal:
    """A child process on a terminal of its own; what it shows is in `screen`, without what positions the cursor."""

    def __init__(self, *command, **environment):
        self.raw = b""
        self._seen = 0
        pid, self._fd = pty.fork()
        if pid == 0:
            os.execve(command[0], command, {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", **environment})
        self._pid = pid

    @property
    def screen(self):
        text = self.raw.decode(errors="replace").replace("\r", "")
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)

    def type(self, keys):
        os.write(self._fd, keys if isinstance(keys, bytes) else keys.encode())

    def enter(self, line):
        self.type(line + "\n")

    def expect(self, pattern):
        """Waits until `pattern` appears after what was last expected; the match."""
        deadline = time.monotonic() + PATIENCE_S
        while not (match := re.compile(pattern).search(self.screen, self._seen)):
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"{pattern!r} did not appear; on the screen:\n{self.screen[self._seen:]}")
        self._seen = match.end()
        return match

    def exit_code(self):
        deadline = time.monotonic() + PATIENCE_S
        while self._read(deadline - time.monotonic()):
            pass
        if time.monotonic() > deadline:
            os.kill(self._pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def edits_lines(self):
        """Whether the terminal itself shows keys, gathers them into lines and makes signals of some."""
        flags = termios.ICANON | termios.ECHO | termios.ISIG
        return termios.tcgetattr(self._fd)[3] & flags == flags

    def close(self):
        os.close(self._fd)

    def _read(self, patience_s):
        if not select.select([self._fd], [], [], max(patience_s, 0))[0]:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # The other end is gone.
            return False
        self.raw += data
        return bool(data)


class ChatTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.history = self.folder / "state" / "history"

    def chat(self, max_tokens=60):
        terminal = Terminal(BINARY, "chat", "--target", server.grpc_target, "--temperature", "0", "--max-tokens",
                            str(max_tokens), "--history-file", str(self.history))
        self.addCleanup(terminal.close)
        terminal.expect(re.escape(MODEL_NAME))
        terminal.expect(PROMPT)
        return terminal

    def test_answers_stream_and_are_followed_by_their_speed(self):
        chat = self.chat()
        chat.enter("What is the capital of France?")
        chat.expect("Paris")
        chat.expect(r"\[\d+ tokens, \d+ a second, the first after \d+\.\d+ s; prompt \d+, of which cached \d+\]")
        chat.expect(PROMPT)
        chat.enter("And of Italy?")
        chat.expect("Rome")
        chat.expect(PROMPT)
        chat.type(CTRL_D)
        self.assertEqual(chat.exit_code(), 0)

    def test_ctrl_c_stops_the_answer_and_not_the_program(self):
        chat = self.chat(max_tokens=1500)
        chat.enter("/set ignore_eos true")
        chat.expect(PROMPT)
        chat.enter("Tell me a very long story.")
        chat.expect(r"\w+ \w+ \w+")
        chat.expect(r"\n?.*\w+ \w+ \w+ \w+ \w+")
        chat.type(CTRL_C)
        chat.expect(r"\[stopped\]")
        chat.expect(PROMPT)
        chat.enter("/set ignore_eos default")
        chat.expect(PROMPT)
        chat.enter("/reset")
        chat.expect(PROMPT)
        chat.enter("What is the capital of France?")
        chat.expect("Paris")
        chat.expect(PROMPT)
        chat.enter("/quit")
        self.assertEqual(chat.exit_code(), 0)

    def test_ctrl_c_at_the_prompt_forgets_the_line(self):
        chat = self.chat()
        chat.type("no question")
        chat.expect("no question")
        chat.type(CTRL_C)
        chat.expect(r"\^C")
        chat.expect(PROMPT)
        chat.enter('"""')
        chat.expect(r"\.\.\. ")
        chat.type(CTRL_C)
        chat.expect(PROMPT)
        chat.enter("/history")
        chat.expect(PROMPT)
        self.assertNotIn("user:", chat.screen)
        chat.type(CTRL_D)
        self.assertEqual(chat.exit_code(), 0)

    def test_keys_pressed_during_an_answer_wait_for_the_next_prompt(self):
        chat = self.chat(max_tokens=100)
        chat.enter("/set ignore_eos true")
        chat.expect(PROMPT)
        chat.enter("Tell me a story.")
        chat.expect(r"\w+ \w+ \w+")
        chat.type("/params\n" + CTRL_D.decode())
        chat.expect("tokens, ")
        chat.expect("> /params\ntemperature ")
        self.assertEqual(chat.exit_code(), 0)
        self.assertTrue(chat.edits_lines())

    def test_messages_of_several_lines(self):
        chat = self.chat(max_tokens=1)
        chat.enter('"""one')
        chat.expect(r"\.\.\. ")
        chat.enter('two"""')
        chat.expect(r"tokens, ")
        chat.enter("three\\")
        chat.expect(r"\.\.\. ")
        chat.enter("four")
        chat.expect(r"tokens, ")
        chat.type(UP)
        chat.expect("four")
        chat.enter("")
        chat.expect(r"tokens, ")
        chat.enter("/history")
        chat.expect("user: one\ntwo\nassistant: .*\nuser: three\nfour\nassistant: .*\nuser: three\nfour\nassistant: ")
        chat.enter("/quit")
        self.assertEqual(chat.exit_code(), 0)

    def test_commands_change_what_is_asked_for(self):
        chat = self.chat(max_tokens=5)
        chat.enter("/help")
        for command in ("/reset", "/system", "/set", "/params", "/retry", "/save", "/load", "/quit"):
            chat.expect(command)
        chat.enter("/set temperature 0.5")
        chat.enter("/params")
        chat.expect(r"temperature 0\.5\n")
        chat.enter("/system Answer in French.")
        chat.enter("Hello")
        chat.expect(r"\[\d tokens")
        chat.enter("/retry")
        chat.expect(r"\[\d tokens")
        saved = self.folder / "talk.json"
        chat.enter(f"/save {saved}")
        chat.enter("/reset")
        chat.enter(f"/load {saved}")
        chat.expect("system: Answer in French.\nuser: Hello\nassistant: ")
        chat.enter("/quit")
        self.assertEqual(chat.exit_code(), 0)
        talk = json.loads(saved.read_text())
        self.assertEqual([message["role"] for message in talk["messages"]], ["system", "user", "assistant"])
        self.assertEqual(talk["sampling_params"]["temperature"], 0.5)

    def test_mistakes_are_explained_and_harm_nothing(self):
        chat = self.chat()
        for line, complaint in (
            ("/nonsense", "no command /nonsense"),
            ("/set temprature 1", "there are temperature, top_p"),
            ("/set temperature hot", "temperature must be a number"),
            ("/retry", "no answer yet"),
            ("/save", "which file"),
            ("/load /no/such/file", "cannot read /no/such/file"),
            ("/set top_p 7", PROMPT),
            ("Hello", r"top_p must be in"),
        ):
            chat.enter(line)
            chat.expect(complaint)
        chat.expect(PROMPT)
        chat.enter("/history")
        chat.expect(PROMPT)
        chat.type(CTRL_D)
        self.assertEqual(chat.exit_code(), 0)
        self.assertNotIn("user:", chat.screen)

    def test_earlier_lines_come_back_also_in_the_next_run(self):
        first = self.chat(max_tokens=2)
        first.enter("caf\u00e9 one")
        first.expect("tokens, ")
        first.expect(PROMPT)
        first.type(UP)
        first.expect("caf\u00e9 one")
        first.enter("")
        first.expect("tokens, ")
        first.expect(PROMPT)
        first.type(CTRL_D)
        self.assertEqual(first.exit_code(), 0)
        self.assertEqual(stat.S_IMODE(self.history.stat().st_mode), 0o600)
        second = self.chat(max_tokens=2)
        second.type(UP)
        second.expect("caf\u00e9 one")
        second.type(CTRL_C)
        second.expect(PROMPT)
        second.type(CTRL_D)
        self.assertEqual(second.exit_code(), 0)

    def test_without_a_server_it_says_so(self):
        chat = Terminal(BINARY, "chat", "--target", "127.0.0.1:1", "--history-file", "")
        self.addCleanup(chat.close)
        chat.expect("make serve")
        self.assertEqual(chat.exit_code(), 1)

    def test_out_of_a_pipe_it_is_plain(self):
        command = [BINARY, "chat", "--target", server.grpc_target, "--temperature", "0", "--max-tokens", "30"]
        questions = '/system Be brief.\n"""\nWhat is the capital\nof France?\n"""\n'
        done = subprocess.run(command, input=questions, capture_output=True, text=True, timeout=PATIENCE_S)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("Paris", done.stdout)
        self.assertEqual(done.stderr, "")
        failed = subprocess.run(command, input="/nonsense\nHello\n", capture_output=True, text=True, timeout=PATIENCE_S)
        self.assertEqual((failed.returncode, failed.stdout), (1, ""))


if __name__ == "__main__":
    unittest.main()
