"""The comparison in the next world: run a part of it, or write its tables.

    python tests/benchmarks/world_comparison.py students --students FOLDER FOLDER FOLDER
    python tests/benchmarks/world_comparison.py control --students FOLDER
    python tests/benchmarks/world_comparison.py rows --students FOLDER
    python tests/benchmarks/world_comparison.py tables

Each part resumes where it was stopped. `students`: GRPO and SGPO from each student, on the training
chains and on the hard ones, five seeds; `control`: GRPO and SGPO in the control world from its own
student, three seeds; `rows`: every other row from the first student, five seeds, or those of
--rows. Finished runs are packed beside the others in --out; `tables` reads these alone and writes
tables.json and report.md there.
"""

import argparse
from pathlib import Path

from sgpo_mini.study.next_comparison import COMPARED, HARD, run_control, run_rows, run_students
from sgpo_mini.study.next_report import write_report
from sgpo_mini.study.next_rows import NEXT_ROWS

OTHERS = [name for name in NEXT_ROWS if name not in (*COMPARED, *HARD)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["students", "control", "rows", "tables"])
    parser.add_argument("--out", default="runs/next")
    parser.add_argument("--students", nargs="+", default=[], help="folders of pretrained students")
    parser.add_argument("--seeds", type=int, nargs="+", default=[])
    parser.add_argument("--rows", nargs="+", choices=OTHERS, default=OTHERS)
    options = parser.parse_args()
    out = Path(options.out)
    if options.part == "tables":
        print(write_report(out))
    elif not options.students:
        parser.error("--students is missing: give the folder of each student")
    elif options.part == "students":
        run_students(out, options.students, options.seeds or range(5))
    elif options.part == "control":
        run_control(out, options.students[0], options.seeds or range(3))
    else:
        run_rows(out, options.students[0], options.seeds or range(5), options.rows)


if __name__ == "__main__":
    main()
