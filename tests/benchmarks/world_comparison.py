"""The comparison over several students: run a part of it, or write its tables.

    python tests/benchmarks/world_comparison.py students --students tiny FOLDER FOLDER
    python tests/benchmarks/world_comparison.py control --students FOLDER
    python tests/benchmarks/world_comparison.py tables

Each part resumes where it was stopped. `students`: GRPO and SGPO from each student, on the training
chains and on the hard ones, five seeds; `control`: GRPO and SGPO in the control world from its own
student, three seeds. Finished runs are packed beside the others in --out; `tables` reads these
alone and writes tables.json and report.md there. The rows of one student are run by
`python -m sgpo_mini compare --methods all --seeds 0-4 --out OUT/student-0`.
"""

import argparse
from pathlib import Path

from sgpo_mini.study.comparison import run_control, run_students
from sgpo_mini.study.students_report import write_report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["students", "control", "tables"])
    parser.add_argument("--out", default="runs/comparison")
    parser.add_argument("--students", nargs="+", default=[], help="tiny, or folders of students")
    parser.add_argument("--seeds", type=int, nargs="+", default=[])
    options = parser.parse_args()
    out = Path(options.out)
    if options.part == "tables":
        print(write_report(out))
    elif not options.students:
        parser.error("--students is missing: give each student")
    elif options.part == "students":
        run_students(out, options.students, options.seeds or range(5))
    else:
        run_control(out, options.students[0], options.seeds or range(3))


if __name__ == "__main__":
    main()
