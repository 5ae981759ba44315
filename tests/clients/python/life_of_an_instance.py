"""Walks through the life of an Altinn instance on a running server and prints each step.

Exits with 0 only if every step and both views through other protocols went as they should.
"""

import argparse
import sys

from azure.core.exceptions import AzureError

import life_steps
import life_views
from server import Endpoints


def print_views(life):
    for title, view in (
        ("the same instance through azure-cosmos", life_views.read_documents),
        ("the same instance through azure-storage-blob", life_views.read_blobs),
    ):
        print(f"  -- {title}")
        for line in view(life):
            print(f"     {line}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ready-file", required=True, help="what the server wrote when it was ready")
    parser.add_argument("--break", dest="break_step", type=int, help="send something wrong in this step")
    arguments = parser.parse_args()
    life = life_steps.Life(Endpoints.read(arguments.ready_file), arguments.break_step)
    done = 0
    try:
        for result in life_steps.walk(life, before_deletion=print_views):
            statuses = " ".join(str(status) for status in result.statuses)
            state = "FAILED" if result.error else "ok"
            print(f"{result.number:4}  {state:6} {result.milliseconds:7.1f} ms  {result.what}  [{statuses}]")
            if result.error:
                print(f"step {result.number} ({result.what}) failed: {result.error}")
                return 1
            done = result.number
    except (life_steps.StepFailed, AzureError) as failure:
        print(f"after step {done}: {failure}")
        return 1
    print(f"all {done} steps went as they should")
    return 0


if __name__ == "__main__":
    sys.exit(main())
