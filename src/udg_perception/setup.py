from setuptools import setup

PACKAGE = "udg_perception"

setup(  # the rest is in setup.cfg
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
    ],
)
