"""What the third-party objects are called, and which of the training categories that is, if one."""

import re

_RULES: tuple[tuple[str, str, str], ...] = (  # category, words, words that exclude it
    ("planter", r"flower box|plant box|flower pot", ""),
    ("sofa", r"sofa|couch|armchair|puff", ""),
    ("chair", r"chair|\bseat\b", r"wheelchair|armchair"),
    ("cabinet", r"cabinet|wardrobe|bookcase|shelves|cupboard|bedside|dresser|locker|tv stand|vanity|chest of", ""),
    ("table", r"\btable\b|\bdesk\b|tatami table", r"tennis|pool|football|\bfan\b|lamp|changing"),
    ("stool", r"stool|ottoman", ""),
    ("crate", r"\bcrate\b|\btray\b|basket\b|open cardboard", "basketball"),
    ("box", r"\bbox\b|penbox|\bgift\b|\bsafe\b|^cube|rubik", r"dog|doll"),
    ("bottle", r"bottle|flacon|\bmilk\b", "spray"),
    ("goblet", r"cocktail glass|wineglass", ""),
    ("mug", r"mug\b|coffee cup", ""),
    ("cup", r"\bcup\b|\bglass\b", r"cake|door|table|plate"),
    ("bowl", r"\bbowl\b|\bbasin\b|ash ?tray|hashtray", ""),
    ("vase", r"\bvase\b|pottery", "lamp"),
    ("pan", r"\bpan\b|fryingpan", ""),
    ("jar", r"\bjar\b|cosmetics pot|\bsugar\b", ""),
    ("jug", r"\bjug\b|creamer|kettle|pitcher", ""),
    ("book", r"\bbook\b", ""),
    ("ball", r"ball$|^sphere", r"punching|football"),
    ("fruit", r"^apples?$", ""),
    (
        "animal",
        r"\b(cat|dog|deer|horse|bulldog|rabbit|elephant|duck|rubberduck|stanfordbunny|piggybank)\b",
        r"rocking|clothes|house",
    ),
    ("figure", r"\bdoll\b|snowman|teddy", "house"),
    ("house", r"dog house|doll house|\bhut\b", ""),
    ("torch", r"flashlight", ""),
    ("bulb", r"lightbulb", ""),
    ("screwdriver", r"screwdriver", ""),
    ("brush", r"\bbrush\b|toothbrush", ""),
    ("bin", r"dustbin|trash ?can|recycling bin", ""),
    ("case", r"briefcase|suitcase|\btrunck\b", ""),
    ("rock", r"\brock\b", ""),
    ("ring", r"^ring$|^torus", ""),
    ("banana", r"^banana$", ""),
    ("can", r"^barrel$", ""),
    ("cylinder", r"^cylinder", ""),
    ("frustum", r"^pyramid", ""),
)


def category_of(name: str, vehicle: bool = False) -> str:
    """Category of a thing called `name`: that of the training objects where they have one, else the name itself."""
    plain = re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()
    for category, words, but in _RULES:
        if not vehicle and re.search(words, plain) and not (but and re.search(but, plain)):
            return category
    return slug(name)


def slug(name: str) -> str:
    """The name in small letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "object"
