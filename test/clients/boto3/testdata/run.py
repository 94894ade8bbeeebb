"""Run the tests of the module named in argv; a JSON list of how each ended on stdout."""

import json
import sys
import unittest


class Results(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.ended = []

    def note(self, test, outcome, text=""):
        self.ended.append({"test": test.id().rpartition(".")[2], "outcome": outcome, "text": text})

    def addSuccess(self, test):
        self.note(test, "ok")

    def addSkip(self, test, reason):
        self.note(test, "skipped", reason)

    def addFailure(self, test, err):
        self.note(test, "failed", self._exc_info_to_string(err, test))

    addError = addFailure

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.note(test, "failed", str(subtest) + "\n" + self._exc_info_to_string(err, test))


results = Results()
unittest.defaultTestLoader.loadTestsFromName(sys.argv[1]).run(results)
json.dump(results.ended, sys.stdout)
