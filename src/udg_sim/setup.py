from glob import glob

from setuptools import setup

PACKAGE = "udg_sim"

setup(  # the rest is in setup.cfg
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/config", sorted(glob("config/*"))),
        (f"share/{PACKAGE}/launch", sorted(glob("launch/*.py"))),
    ],
)
