"""Asks two servers the same queries about the same documents and sorts what they answer differently.

    python tests/differential OURS OTHER [--queries 10000] [--seed 1] [--documents 60] [--report FILE]

Both are addresses of servers that run already; what the other one is, is the caller's business. Which of the two is
right, people judge: docs/compat/documents-query-differential.md has what was found.
"""

import argparse
import collections
import json
import random

import answers
import documents
import questions
from endpoint import Endpoint, Refused

# Documents are made anew after so many queries.
QUERIES_PER_CONTAINER = 500
EXAMPLES_PER_CLASS = 3


def shown(value):
    return "nothing" if value is answers.NOTHING else json.dumps(value)


class Comparison:
    def __init__(self, ours, other):
        self.ours, self.other = ours, other
        self.counts = collections.Counter()
        self.classes = collections.defaultdict(list)
        self.refused_by_other = collections.Counter()

    def note(self, kind, question, what):
        self.counts[kind] += 1
        examples = self.classes[kind, " + ".join(question.features)]
        examples.append({"sql": question.sql, "parameters": question.parameters, "order": question.order, "what": what})

    def compare(self, question):
        self.counts["asked"] += 1
        refusals = {}
        rows = {}
        for name, endpoint in (("ours", self.ours), ("other", self.other)):
            try:
                rows[name] = endpoint.ask(question.sql, question.parameters)
            except Refused as refused:
                refusals[name] = f"{refused.status} {refused.text[:300]}"
        if len(refusals) == 2:
            self.counts["refused by both"] += 1
        elif "other" in refusals:
            self.counts["refused by the other"] += 1
            self.refused_by_other[refusals["other"][:160]] += 1
        elif "ours" in refusals:
            self.note("refused by ours", question, [refusals["ours"]])
        else:
            self.counts["compared"] += 1
            different = answers.differences(question, rows["ours"], rows["other"])
            if different:
                what = [f"ours {shown(one)}, other {shown(two)}" for one, two in different[:4]]
                self.note("different", question, what)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("ours")
    parser.add_argument("other")
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--documents", type=int, default=60)
    parser.add_argument("--report", help="a file for every difference, as JSON lines")
    given = parser.parse_args()
    comparison = Comparison(Endpoint(given.ours), Endpoint(given.other))
    for block in range(0, given.queries, QUERIES_PER_CONTAINER):
        # Each block repeats on its own: its seed is its number.
        chance = random.Random(given.seed * 1_000_003 + block)
        regular = block // QUERIES_PER_CONTAINER % 2 == 1
        asked_about = documents.documents(chance, given.documents, regular)
        for endpoint in (comparison.ours, comparison.other):
            endpoint.fill(asked_about)
        asker = questions.Asker(chance)
        for _ in range(min(QUERIES_PER_CONTAINER, given.queries - block)):
            comparison.compare(asker.question())
    report(comparison, given.report)


def report(comparison, path):
    for (kind, features), examples in sorted(comparison.classes.items(), key=lambda entry: -len(entry[1])):
        print(f"{kind}, {len(examples)} times: {features}")
        for example in examples[:EXAMPLES_PER_CLASS]:
            print(f"    {example['sql']}  {example['parameters'] or ''}")
            for what in example["what"]:
                print(f"        {what}")
    print("refused by the other server alone:")
    for text, count in comparison.refused_by_other.most_common(30):
        print(f"    {count} times: {text}")
    print(", ".join(f"{count} {kind}" for kind, count in comparison.counts.items()))
    if path:
        with open(path, "w", encoding="utf-8") as file:
            for (kind, features), examples in comparison.classes.items():
                for example in examples:
                    file.write(json.dumps({"kind": kind, "features": features, **example}) + "\n")


main()
