"""The page at /, in a real browser. QUIRE_SCREENSHOTS names a folder for pictures of it, to be looked at."""

import json
import os
import pathlib
import unittest
import urllib.request

from browser import Browser
from quire_server import MODEL_NAME, QuireServer

ENTER, ESCAPE, TAB = ("Enter", 13), ("Escape", 27), ("Tab", 9)
LAST_ANSWER = "[...document.querySelectorAll('.assistant')].at(-1)?.textContent ?? ''"
STREAM = {"Content-Type": "application/json"}


def setUpModule():
    global server
    server = QuireServer("--kv-cache-memory", "64MiB", "--max-model-len", "1024").__enter__()


def tearDownModule():
    server.stop()


def get_json(path):
    with urllib.request.urlopen(server.http_url + path, timeout=20) as response:
        return json.load(response)


class StatsTest(unittest.TestCase):
    def test_statistics_add_up(self):
        stats = get_json("/quire/stats")
        self.assertEqual(stats["kv_pages_used"] + stats["kv_pages_cached"] + stats["kv_pages_free"],
                         stats["kv_pages_total"])
        self.assertEqual((stats["kv_pages_used"], stats["kv_pages_shared"]), (0, 0))

    def test_the_page_brings_everything_itself(self):
        with urllib.request.urlopen(server.http_url + "/", timeout=20) as response:
            self.assertEqual(response.headers["Content-Type"], "text/html; charset=utf-8")
            self.assertIn("default-src 'none'", response.headers["Content-Security-Policy"])
            self.assertNotIn("http://", response.read().decode().replace(server.http_url, ""))


class PageTest(unittest.TestCase):
    def open(self, **settings):
        page = Browser(**{"width": 1280, "height": 800, **settings}).__enter__()
        self.addCleanup(page.__exit__)
        page.open(server.http_url + "/")
        page.await_true(f"document.getElementById('model').textContent === '{MODEL_NAME}'")
        return page

    def set(self, page, **parameters):
        for name, value in parameters.items():
            page.evaluate(f"document.getElementById('{name}').value = '{value}'")

    def ask(self, page, question):
        page.evaluate("document.getElementById('question').focus()")
        page.type(question)
        page.press(*ENTER, text="\r")

    def await_end(self, page):
        page.await_true("!document.getElementById('send').disabled")

    def picture(self, page, name):
        folder = os.environ.get("QUIRE_SCREENSHOTS")
        if folder:
            page.screenshot(pathlib.Path(folder, name + ".png"))

    def check_clean(self, page):
        self.assertEqual(page.problems, [])
        foreign = [url for url in page.requested if not url.startswith((server.http_url, "data:", "about:"))]
        self.assertEqual(foreign, [])

    def test_a_conversation_streams_and_goes_on(self):
        page = self.open()
        self.set(page, temperature=0, max_tokens=60)
        self.ask(page, "What is the capital of France?")
        self.await_end(page)
        self.assertIn("Paris", page.evaluate(LAST_ANSWER))
        self.assertRegex(page.evaluate("document.querySelector('.figures').textContent"),
                         r"\d+ tokens, \d+ a second, the first after \d+\.\d+ s; prompt \d+, of which cached \d+")
        self.ask(page, "And of Italy?")
        self.await_end(page)
        self.assertIn("Rome", page.evaluate(LAST_ANSWER))
        self.picture(page, "wide")
        page.evaluate("document.getElementById('retry').click()")
        self.await_end(page)
        self.assertIn("Rome", page.evaluate(LAST_ANSWER))
        self.assertEqual(page.evaluate("document.querySelectorAll('.assistant').length"), 2)
        page.evaluate("document.getElementById('reset').click()")
        self.assertEqual(page.evaluate("document.getElementById('log').children.length"), 0)
        self.check_clean(page)

    def test_escape_stops_an_answer_and_the_server_its_work(self):
        page = self.open()
        self.set(page, max_tokens=900)
        self.ask(page, "Write a very long story about a lighthouse.")
        page.await_true(f"({LAST_ANSWER}).length > 20")
        page.press(*ESCAPE)
        page.await_true("document.querySelector('.figures')?.textContent === 'stopped'")
        page.await_true("fetch('quire/stats').then((r) => r.json()).then((s) => s.kv_pages_used === 0)")
        self.check_clean(page)

    def test_the_page_pool_is_shown_as_it_is(self):
        page = self.open()
        body = {"model": MODEL_NAME, "prompt": "A very long story " * 30, "max_tokens": 600, "n": 4, "temperature": 1,
                "ignore_eos": True, "stream": True}
        request = urllib.request.Request(server.http_url + "/v1/completions", json.dumps(body).encode(), STREAM)
        with urllib.request.urlopen(request, timeout=20):
            page.await_true("Number(document.getElementById('kv-shared').textContent) > 0")
            page.await_true("Number(document.getElementById('kv-used').textContent) > 0")
            page.await_true("document.getElementById('running').textContent === '1'")
            page.await_true("Number(document.getElementById('rate').textContent) > 0")
            self.picture(page, "pool")
        # The client is gone, and what it held is given back.
        page.await_true("document.getElementById('running').textContent === '0'")
        page.await_true("document.getElementById('kv-used').textContent === '0'")
        shown = page.evaluate("document.getElementById('pages').getAttribute('aria-label')")
        stats = get_json("/quire/stats")
        self.assertIn(f"{stats['kv_pages_cached']} are cached, {stats['kv_pages_free']} are free", shown)
        self.check_clean(page)

    def test_mistakes_are_explained_and_the_question_is_given_back(self):
        page = self.open()
        self.set(page, top_p=7)
        self.ask(page, "Hello")
        self.await_end(page)
        self.assertIn("top_p", page.evaluate("document.querySelector('[role=alert]').textContent"))
        self.assertEqual(page.evaluate("document.getElementById('question').value"), "Hello")
        self.set(page, top_p=1, max_tokens=4, temperature=0)
        page.press(*ENTER, text="\r")
        page.await_true(f"({LAST_ANSWER}).length > 0")

    def test_what_is_said_is_text_and_never_markup(self):
        page = self.open()
        self.set(page, max_tokens=2)
        self.ask(page, "<img src=x onerror=document.title='broken'>")
        self.await_end(page)
        self.assertEqual(page.evaluate("document.querySelectorAll('#log img').length"), 0)
        self.assertIn("<img", page.evaluate("document.querySelector('.user').textContent"))
        self.assertEqual(page.evaluate("document.title"), "Quire")

    def test_a_phone_shows_all_of_it_in_one_column(self):
        page = self.open(width=390, height=844, dark=True, phone=True)
        self.set(page, temperature=0, max_tokens=60)
        self.ask(page, "What is the capital of France?")
        self.await_end(page)
        self.picture(page, "phone")
        self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), 390)
        self.assertTrue(page.evaluate("document.getElementById('send').getBoundingClientRect().bottom <= innerHeight"))
        self.assertEqual(page.evaluate("document.documentElement.dataset.theme"), "dark")
        page.evaluate("document.getElementById('theme').click()")
        self.assertEqual(page.evaluate("document.documentElement.dataset.theme"), "light")
        self.check_clean(page)

    def test_the_keyboard_reaches_everything(self):
        page = self.open()
        page.evaluate("document.getElementById('question').focus()")
        page.type("one")
        page.press(*ENTER, shift=True, text="\r")
        page.type("two")
        self.assertEqual(page.evaluate("document.getElementById('question').value"), "one\ntwo")
        reached = set()
        for _ in range(12):
            page.press(*TAB)
            reached.add(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        self.assertLessEqual({"send", "reset", "SUMMARY", "theme", "log", "question"}, reached)

    def test_a_server_that_is_gone_is_told(self):
        with QuireServer() as ending, Browser(width=800, height=600) as page:
            page.open(ending.http_url + "/")
            page.await_true(f"document.getElementById('model').textContent === '{MODEL_NAME}'")
            ending.stop()
            page.await_true("document.getElementById('model').textContent === 'the server does not answer'")


if __name__ == "__main__":
    unittest.main()
