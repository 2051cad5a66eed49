"""lm-eval against the server: a small task of our own in each of the two ways that it measures models."""

import json
import os
import pathlib
import tempfile
import unittest

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TQDM_DISABLE="1")

import lm_eval
import lm_eval.tasks

from quire_server import MODEL_NAME, QuireServer

CAPITALS = {"France": "Paris", "Italy": "Rome", "Germany": "Berlin", "Spain": "Madrid", "Japan": "Tokyo",
            "England": "London", "Greece": "Athens", "Russia": "Moscow"}
CHOICES = sorted(CAPITALS.values())

CHOOSE = """
task: capitals_choose
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}"}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "The capital of {{{{country}}}} is"
doc_to_choice: {choices}
doc_to_target: label
target_delimiter: " "
metric_list: [{{metric: acc}}]
"""
SAY = """
task: capitals_say
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}"}}}}
test_split: test
output_type: generate_until
doc_to_text: "The capital of {{{{country}}}} is"
doc_to_target: "{{{{capital}}}}"
target_delimiter: " "
generation_kwargs: {{until: [".", ",", "\\n"], max_gen_toks: 8, temperature: 0}}
filter_list: [{{name: strip, filter: [{{function: remove_whitespace}}, {{function: take_first}}]}}]
metric_list: [{{metric: exact_match}}]
"""


class LmEvalTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(QuireServer())
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        os.environ["HF_HOME"] = str(folder / "cache")
        data = folder / "capitals.jsonl"
        data.write_text("".join(
            json.dumps({"country": country, "capital": capital, "label": CHOICES.index(capital)}) + "\n"
            for country, capital in CAPITALS.items()))
        for name, text in (("choose", CHOOSE), ("say", SAY)):
            (folder / f"{name}.yaml").write_text(text.format(data=data, choices=json.dumps(CHOICES)))
        cls.tasks = lm_eval.tasks.TaskManager(include_path=str(folder), include_defaults=False)

    def results(self, task, **model_args):
        return lm_eval.simple_evaluate(
            model="local-completions",
            model_args={"model": MODEL_NAME, "base_url": self.server.http_url + "/v1/completions", "max_length": 2048,
                        **model_args},
            tasks=[task], task_manager=self.tasks, bootstrap_iters=0, log_samples=True)

    # Prompts are tokens, echoed with their log-probabilities.
    def test_multiple_choice_by_log_likelihood(self):
        alone = self.results("capitals_choose", num_concurrent=1, batch_size=1)
        self.assertGreaterEqual(alone["results"]["capitals_choose"]["acc,none"], 0.75)
        together = self.results("capitals_choose", num_concurrent=8, batch_size=4)
        responses = [[sample["resps"] for sample in results["samples"]["capitals_choose"]] for results in (alone, together)]
        self.assertEqual(responses[0], responses[1])

    def test_generation_until_a_stop_string(self):
        results = self.results("capitals_say", num_concurrent=4)
        self.assertGreaterEqual(results["results"]["capitals_say"]["exact_match,strip"], 0.75)


if __name__ == "__main__":
    unittest.main()
