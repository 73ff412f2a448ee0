"""Labels of the points of a scene cloud (its fourth column)."""

LABEL_SEEN = 0  # seen by the cameras: the object
LABEL_LEFT = 1  # imaged left robot
LABEL_RIGHT = 2  # imaged right robot
LABELS = f"{LABEL_SEEN} seen, {LABEL_LEFT} left robot, {LABEL_RIGHT} right robot"  # for people
