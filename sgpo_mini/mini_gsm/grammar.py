"""The words of the stories: verbs, people, things, and how a clause becomes a sentence.

A clause is a verb in a setting. The verb says which way the amount changes; the setting says
whether the change plays a part in the answer: it does if the story's person does it, after the
count, to the things that are counted. Each of these cues is shared: all verbs occur with the same
people, times and things. Stories are told in the past tense with verbs whose participle is their
past form, so that "had lost", "lost" and the strategy's "the amount lost" share a word.
"""

from dataclasses import dataclass

_BRING = "found bought won collected received earned gathered acquired purchased gained secured"
_TAKE = "lost sold donated discarded destroyed dumped trashed gifted scrapped binned recycled"
CHANGES = {verb: "add" for verb in f"{_BRING} obtained".split()}
CHANGES |= {verb: "subtract" for verb in f"{_TAKE} surrendered".split()}
SCALES = {
    "increased": "multiply",
    "expanded": "multiply",
    "split": "divide",
    "divided": "divide",
}
# The verbs that pretraining teaches; the others are new words, which RL or a strategy must teach.
KNOWN_VERBS = "found received acquired lost discarded trashed increased split".split()
# Verbs of the two families about which the student is sure and wrong; no other story has them.
SURE_AND_WRONG = {"inherited": "add", "forfeited": "subtract"}
OPERATION_OF = CHANGES | SCALES | SURE_AND_WRONG
NEW_VERBS = [verb for verb in CHANGES | SCALES if verb not in KNOWN_VERBS]

SETTINGS = ("plain", "somebody else", "before", "other things")  # only "plain" plays a part

NAMES = (
    "Anna Ben Carla David Ella Felix Grace Hugo Iris Jonas Karen Leo "
    "Mira Noah Olga Paul Rosa Sam Tina Viktor Wanda Yusuf Zoe Amir"
).split()
THINGS = "shells stamps cards stones coins beads buttons marbles stickers badges".split()
PEOPLE = ("a friend", "a neighbor", "a cousin", "a teacher", "a stranger", "a classmate")
OTHER_THINGS = "hats spoons candles umbrellas tickets pillows".split()

# {s} does {p}. The first four forms are used in training, the fifth only in the split `reworded`.
NOW = ("Then {s} {p}.", "{s} then {p}.", "{s} later {p}.", "In the afternoon {s} {p}.")
NOW += ("{s} {p} later.",)
BEFORE = ("Before the count {s} {p}.", "Long before the count {s} {p}.")
BEFORE += ("A week before the count {s} {p}.", "The year before the count {s} {p}.")
BEFORE += ("{s} {p} a week before the count.",)
COUNT = ("{n} counted {q} {x}.", "In the morning {n} counted {q} {x}.")
COUNT += ("On Monday {n} counted {q} {x}.", "{n} sat down and counted {q} {x}.")
COUNT += ("In the morning {n} sat down and counted {q} {x}.",)
EACH_BOX = ("Each box held {q} {x}.", "There were {q} {x} in each box.")
EACH_BOX += ("Each of the boxes held {q} {x}.", "In each box there were {q} {x}.")
EACH_BOX += ("In each of the boxes there were {q} {x}.",)
QUESTION = ("How many {x} did {n} have in the end?", "In the end how many {x} did {n} have?")
QUESTION += ("How many {x} does {n} have now?", "How many {x} did {n} have after all this?")
QUESTION += ("How many {x} does {n} have in the end?",)
SEEN_FORMS = 4


@dataclass(frozen=True)
class Clause:
    """A verb in a setting; the verb "held" is the rate of a story that starts with boxes."""

    verb: str
    setting: str = "plain"

    @property
    def kind(self) -> str:
        """What its quantity can do: "each" multiplies, "scale" and "change" have two ways."""
        return "each" if self == EACH else "scale" if self.verb in SCALES else "change"

    @property
    def operation(self) -> str:
        """The verb's own operation, whether or not it plays a part."""
        return "multiply" if self == EACH else OPERATION_OF[self.verb]

    @property
    def role(self) -> str:
        """How a strategy names the quantity."""
        if self == EACH:
            return "the amount in each box"
        if self.verb not in SCALES:
            return f"the amount {self.verb}"
        noun = "times" if SCALES[self.verb] == "multiply" else "parts"
        return f"the number of {noun} {self.verb}"

    @property
    def label(self) -> str:
        """How a solution names the quantity at the start of its line."""
        if self == EACH:
            return "In each box"
        return self.role.removeprefix("the ").removeprefix("number of ").capitalize()


EACH = Clause("held")


@dataclass(frozen=True)
class Cast:
    """Who and what a story is about."""

    name: str
    things: str
    other: str  # somebody else
    other_things: str


def sentence_of(clause: Clause, number: int, cast: Cast, form: int) -> str:
    """The sentence that tells a clause, in one of the five forms."""
    if clause == EACH:
        return EACH_BOX[form].format(q=number, x=cast.things)
    things = cast.other_things if clause.setting == "other things" else cast.things
    somebody_else = clause.setting == "somebody else"
    verb = f"had {clause.verb}" if clause.setting == "before" else clause.verb
    if clause.kind == "scale":
        whose = {"somebody else": "their own", "other things": "a"}.get(clause.setting, "the")
        ending = f"to {number} times its size"
        if clause.operation == "divide":
            ending = f"into {number} equal parts and kept one part"
        predicate = f"{verb} {whose} collection of {things} {ending}"
    else:
        for_whom = " for themselves" if clause.operation == "add" else " of their own"
        predicate = f"{verb} {number} {things}{for_whom if somebody_else else ''}"
    forms = BEFORE if clause.setting == "before" else NOW
    subject = cast.other if somebody_else else cast.name
    sentence = forms[form].format(s=subject, p=predicate)
    return sentence[0].upper() + sentence[1:]


def first_sentence(boxes: bool, number: int, cast: Cast, form: int) -> str:
    """The count that a story starts with, of boxes or of the things themselves."""
    return COUNT[form].format(n=cast.name, q=number, x="boxes" if boxes else cast.things)


def question_of(cast: Cast, form: int) -> str:
    """The question that ends a story."""
    return QUESTION[form].format(n=cast.name, x=cast.things)
