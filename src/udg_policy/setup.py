from setuptools import setup

PACKAGE = "udg_policy"

setup(  # the rest is in setup.cfg; python_requires is not because colcon cannot read it there
    python_requires=">=3.10,<3.13",
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
    ],
)
