# udg: `make` lists the targets. Each sets up what it needs first (tools/setup.sh) and skips what is there.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

ENV := set +u; . tools/env.sh; set -u;

# sim, bench-tick
TRIALS ?= 10
OBJECTS ?=
SEED ?= 0
OUT ?= out/sim
CHECKPOINT ?=
POLICY ?= checkpoint
# grasps, demos, train
OBJECT ?= cylinder_60
STRATEGY ?= auto
SIDE ?= right
N ?= 100
EPISODES ?= 90
SCENES ?= 2
WORKERS ?=
DATA ?= out/demos
RUN ?= out/train
# episode-page; empty: the first one
EPISODE ?=
PRESET ?= edge
# benchmark
PROTOCOL ?= quick
POLICIES ?= ours
RULES ?= paper
# pack
PART_MB ?= 60
# calibrate
METHOD ?= robot
FOLDER ?= out/calibration
# view, sim, rehearse: 1 shows it in the browser, at 127.0.0.1:PORT
VIEW ?=
PORT ?= 8080
# replay
FILE ?=
# more options of the command, as they are
ARGS ?=
PYTEST_ARGS ?=
# fault-table
ATTEMPTS ?= 5

# A variable that the target does not know is refused: a misspelt one would do the work for something else.
VARS_sim := POLICY TRIALS OBJECTS OBJECT SEED OUT CHECKPOINT VIEW PORT ARGS
VARS_view := OBJECT OBJECTS SEED CHECKPOINT PORT ARGS
VARS_replay := FILE PORT VIEW ARGS
VARS_view-picture := PORT OUT ARGS
VARS_record := OUT ARGS
VARS_bench-tick := CHECKPOINT ARGS
VARS_bench-control := ARGS
VARS_bench-policy := SEED CHECKPOINT ARGS
VARS_bench-synthesis := OBJECTS OBJECT SEED N ARGS
VARS_test := PYTEST_ARGS
VARS_fault-table := ATTEMPTS ARGS
VARS_grasps := OBJECT OBJECTS STRATEGY SIDE N SEED OUT WORKERS ARGS
VARS_demos := OBJECTS OBJECT SEED EPISODES OUT DATA WORKERS ARGS
VARS_data-info := DATA ARGS
VARS_corrections := CHECKPOINT DATA OUT EPISODES SEED WORKERS ARGS
VARS_pack := DATA CHECKPOINT PART_MB OUT ARGS
VARS_unpack := DATA OUT
VARS_train := DATA RUN PRESET SEED ARGS
VARS_episode-page := EPISODE DATA CHECKPOINT OUT ARGS
VARS_trials := POLICY CHECKPOINT OBJECTS OBJECT TRIALS SEED WORKERS ARGS
VARS_benchmark := PROTOCOL POLICIES RULES OBJECTS OBJECT OUT WORKERS ARGS
VARS_agreement := OBJECTS OBJECT SCENES WORKERS OUT ARGS
VARS_ablations := DATA OUT PRESET WORKERS ARGS
VARS_objects := OBJECTS OBJECT WORKERS FETCH ADD SIZE UNIT ARGS
VARS_calibrate := METHOD FOLDER ARGS
VARS_rehearse := VIEW PORT ARGS
VARS_rviz := ARGS
VARS_house := ARGS
VARS_ALL := ROBOT UDG_PYTHON UDG_CACHE RAY_ADDRESS ROS_DOMAIN_ID RMW_IMPLEMENTATION CUDA_VISIBLE_DEVICES SHELL

# The robot of every target: a name of data/robots or a file; the environment takes it to all processes.
ROBOT ?=
ifneq ($(ROBOT),)
export UDG_ROBOT := $(ROBOT)
endif

given = $(filter command,$(origin $(1)))
GOALS := $(or $(MAKECMDGOALS),help)
UNKNOWN := $(filter-out $(VARS_ALL) $(foreach goal,$(GOALS),$(VARS_$(goal))),$(foreach v,$(.VARIABLES),$(if $(call given,$v),$v)))
ifneq ($(UNKNOWN),)
$(error make $(GOALS): no variable $(firstword $(UNKNOWN)); valid: $(or $(sort $(foreach goal,$(GOALS),$(VARS_$(goal)))),none))
endif
# OBJECT and OBJECTS are the same, whichever is given.
ifneq ($(and $(call given,OBJECT),$(call given,OBJECTS)),)
$(error make $(GOALS): OBJECT and OBJECTS are the same; give one)
endif
ifneq ($(call given,OBJECT),)
override OBJECTS := $(OBJECT)
else ifneq ($(call given,OBJECTS),)
override OBJECT := $(OBJECTS)
endif

.PHONY: help rehearse setup sim bench-tick bench-control bench-policy bench-synthesis test fault-table lint house colcon-test grasps demos agreement trials benchmark data-info corrections pack unpack train ablations episode-page objects calibrate rviz view replay record view-picture clean distclean

help:  ## list the targets and their variables
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "Variables: TRIALS=10 OBJECTS=id,path.obj@0.1,held_out/quick SEED=0 OUT=out/sim CHECKPOINT=folder (sim, bench-tick)"
	@echo "           ROBOT=ur5e_xhand (any target: a name or file.yaml, docs/any_hand.md); POLICY=checkpoint or planner (sim, trials)"
	@echo "           OBJECT=id STRATEGY=auto SIDE=right N=100 SEED OUT=out/grasps WORKERS=1 (grasps); ARGS=--validate tries them in physics"
	@echo "           OBJECTS=train/small:20,id SEED EPISODES=90 OUT=out/demos WORKERS=1 (demos); DATA RUN=out/train PRESET=edge (train)"
	@echo "           EPISODE=name DATA CHECKPOINT=folder OUT=out/pages (episode-page)"
	@echo "           METHOD=robot FOLDER=out/calibration (calibrate); VIEW=1 PORT=8080 (sim, rehearse); FILE PORT (replay)"
	@echo "           ARGS=more options of the command; PYTEST_ARGS (test); ATTEMPTS=5 (fault-table); UDG_PYTHON=python3.11 (setup)"

setup:  ## system libraries, .venv, ROS 2, colcon workspace: only what is missing
	@bash tools/setup.sh

sim: setup  ## trials in lockstep through the ROS nodes; last line: JSON of the result
	@$(ENV) exec udg sim --policy $(POLICY) --trials $(TRIALS) --seed $(SEED) --out "$(OUT)" \
		$(if $(OBJECTS),--objects "$(OBJECTS)") $(if $(CHECKPOINT),--checkpoint "$(CHECKPOINT)") $(if $(filter-out 0,$(VIEW)),--view --view-port $(PORT)) $(ARGS)

view: setup  ## the simulated robot live in the browser, at 127.0.0.1:PORT=8080: OBJECT SEED CHECKPOINT (until Ctrl-C)
	@$(ENV) exec udg view --view --view-port $(PORT) --start --seed $(SEED) \
		$(if $(OBJECTS),--object "$(OBJECTS)") $(if $(CHECKPOINT),--checkpoint "$(CHECKPOINT)") $(ARGS)

replay: setup  ## play FILE in the browser, with a time slider: episode (.h5), trial of make sim (.jsonl), grasps (.npz), bag
	@$(ENV) exec udg replay "$(FILE)" --port $(PORT) $(ARGS)

record: setup  ## record a running graph (same ROS_DOMAIN_ID) into the bag OUT=out/bag, MCAP as of rosbag2, until Ctrl-C (ARGS=--images)
	@$(ENV) exec udg record "$(if $(filter command% environment,$(origin OUT)),$(OUT),out/bag)" $(ARGS)

view-picture: setup  ## save a screenshot of the page at PORT to OUT=out/view.png, by chromium without a window
	@$(ENV) exec udg view-picture "$(if $(filter command% environment,$(origin OUT)),$(OUT),out/view.png)" --port $(PORT) $(ARGS)

bench-tick: setup  ## time from depth image to command on 2 cores; last line: JSON
	@$(ENV) exec udg bench-tick $(if $(CHECKPOINT),--checkpoint "$(CHECKPOINT)") $(ARGS)

bench-control: setup  ## 500 Hz to both (emulated) arms for 60 s with all nodes running; last line: JSON
	@$(ENV) exec udg bench-control $(ARGS)

test: lint  ## set-up, linters and all tests: those in real time last, one by one
	@$(ENV) exec tools/test.sh $(PYTEST_ARGS)

fault-table: setup  ## play every fault ATTEMPTS times on the emulated robot: the table of docs/measured/safety.md
	@$(ENV) exec udg fault-table --attempts $(ATTEMPTS) --markdown $(ARGS)

lint: setup  ## ruff, mypy and the rules of the tree
	@$(ENV) python -m ruff check . && python -m ruff format --check -q . && python -m mypy && python tools/check_tree.py

house: setup  ## sub-packages, imports between them, cycles, duplication; draws docs/pictures/house.svg (ARGS="--root CHECKOUT": no picture)
	@$(ENV) python tools/house.py $(or $(ARGS),--svg docs/pictures/house.svg)

colcon-test: setup  ## the same tests, package by package, the ROS way
	@$(ENV) python -m colcon --log-base log test --base-paths src --event-handlers console_cohesion- --executor sequential --return-code-on-test-failure; \
		python -m colcon test-result --verbose

bench-policy: setup  ## time from scene cloud to action, and training throughput, beside a plain implementation; last line: JSON
	@$(ENV) exec udg bench-policy --seed $(SEED) $(if $(CHECKPOINT),--checkpoint "$(CHECKPOINT)") $(ARGS)

bench-synthesis: setup  ## measure grasp synthesis against baselines (ARGS=--quick: minutes); last line: JSON
	@$(ENV) exec udg bench-synthesis --seed $(SEED) $(if $(OBJECTS),--objects "$(OBJECTS)") \
		$(if $(filter command% environment,$(origin N)),--n $(N)) $(ARGS)

grasps: setup  ## N grasps of OBJECT (id or path.obj@0.1) with STRATEGY and SIDE into OUT: file, picture, web page, numbered
	@$(ENV) exec udg grasps --object "$(OBJECT)" --strategy "$(STRATEGY)" --side "$(SIDE)" \
		--n $(N) --seed $(SEED) --out "$(if $(filter command% environment,$(origin OUT)),$(OUT),out/grasps)" \
		$(if $(WORKERS),--workers $(WORKERS)) $(ARGS)

demos: setup  ## attempt EPISODES demonstrations in all, spread over OBJECTS, into OUT (resumes; WORKERS=n or RAY_ADDRESS)
	@$(ENV) exec udg demos --out "$(if $(filter command% environment,$(origin OUT)),$(OUT),$(DATA))" \
		--episodes $(EPISODES) --seed $(SEED) $(if $(OBJECTS),--objects "$(OBJECTS)") $(if $(WORKERS),--workers $(WORKERS)) $(ARGS)

agreement: setup  ## does the expert choose the same grasp again? OBJECTS SCENES=2 WORKERS OUT=out/agreement; last line: JSON
	@$(ENV) exec udg agreement --scenes $(SCENES) \
		--out "$(if $(filter command% environment,$(origin OUT)),$(OUT),out/agreement)" \
		$(if $(OBJECTS),--objects "$(OBJECTS)") $(if $(WORKERS),--workers $(WORKERS)) $(ARGS)

trials: setup  ## closed-loop TRIALS of CHECKPOINT on OBJECTS without ROS, through the safety filter; last line: JSON (ARGS="--out a.jsonl")
	@$(ENV) exec udg trials --trials $(TRIALS) --seed $(if $(call given,SEED),$(SEED),100000) \
		--policy $(POLICY) --checkpoint "$(or $(CHECKPOINT),src/udg_policy/udg_policy/data/edge)" \
		$(if $(OBJECTS),--objects "$(OBJECTS)") $(if $(WORKERS),--workers $(WORKERS)) $(ARGS)

benchmark: setup  ## POLICIES=ours,planner on the trials of PROTOCOL=quick (paper, smoke) into OUT: table, page (resumes; WORKERS=n or RAY_ADDRESS); last line: JSON
	@$(ENV) exec udg benchmark --protocol $(PROTOCOL) --policies "$(POLICIES)" --rules "$(RULES)" \
		--out "$(if $(filter command% environment,$(origin OUT)),$(OUT),out/benchmark)" \
		$(if $(OBJECTS),--objects "$(OBJECTS)") $(if $(WORKERS),--workers $(WORKERS)) $(ARGS)

data-info: setup  ## what the dataset DATA holds, with pictures in DATA/info; last line: JSON (ARGS=--verify)
	@$(ENV) exec udg data-info --data "$(DATA)" $(ARGS)

corrections: setup  ## the expert takes over from CHECKPOINT in the scenes of DATA, EPISODES times, into OUT (resumes; WORKERS=n or RAY_ADDRESS)
	@$(ENV) exec udg corrections --data "$(DATA)" --episodes $(EPISODES) --seed $(SEED) \
		--checkpoint "$(or $(CHECKPOINT),src/udg_policy/udg_policy/data/edge)" \
		--out "$(if $(filter command% environment,$(origin OUT)),$(OUT),out/corrections)" \
		$(if $(WORKERS),--workers $(WORKERS)) $(ARGS)

pack: setup  ## pack DATA (or CHECKPOINT) into parts of PART_MB=60 in OUT, to be moved to another machine and trained from
	@$(ENV) exec udg pack "$(or $(CHECKPOINT),$(DATA))" --part-mb $(PART_MB) \
		--out "$(if $(filter command% environment,$(origin OUT)),$(OUT),out/packed)" $(ARGS)

unpack: setup  ## unpack DATA, a packed data set or checkpoint, into OUT
	@$(ENV) exec udg pack --unpack "$(DATA)" \
		--out "$(if $(filter command% environment,$(origin OUT)),$(OUT),out/unpacked)"

train: setup  ## train PRESET on DATA into RUN (to resume: ARGS=--resume)
	@$(ENV) exec udg train --data "$(DATA)" --out "$(RUN)" --preset $(PRESET) --seed $(SEED) $(ARGS)

episode-page: setup  ## play EPISODE of DATA with CHECKPOINT on a web page in OUT: cloud, attention, predictions
	@$(ENV) exec udg episode-page --checkpoint "$(or $(CHECKPOINT),src/udg_policy/udg_policy/data/edge)" \
		--data "$(DATA)" --out "$(if $(filter command% environment,$(origin OUT)),$(OUT),out/pages)" \
		$(if $(EPISODE),--episode "$(EPISODE)") $(ARGS)

ablations: setup  ## variants of PRESET trained on DATA and measured in the same trials, into OUT (resumes; ARGS=--variants ...); last line: JSON
	@$(ENV) exec udg ablations --data "$(DATA)" --preset $(PRESET) $(if $(WORKERS),--workers $(WORKERS)) \
		--out "$(if $(filter command% environment,$(origin OUT)),$(OUT),out/ablations)" $(ARGS)

objects: setup  ## prepare OBJECTS=quick (train, held_out, all, ids; WORKERS=n), FETCH=sources, ADD=folder of meshes (SIZE= UNIT=), ARGS=--report
	@$(ENV) exec udg objects $(if $(OBJECTS),--objects "$(OBJECTS)") $(if $(WORKERS),--workers $(WORKERS)) \
		$(if $(FETCH),--fetch "$(FETCH)") $(if $(ADD),--add "$(ADD)") $(if $(SIZE),--size $(SIZE)) $(if $(UNIT),--unit $(UNIT)) $(ARGS)

calibrate: setup  ## poses of the cameras from observations (METHOD=robot or board, FOLDER=...) into config/cameras.yaml, or refused
	@$(ENV) exec udg calibrate $(METHOD) "$(FOLDER)" $(ARGS)

rehearse: setup  ## the real robot's nodes on emulated arms, hands and cameras (until Ctrl-C)
	@$(ENV) exec udg robot --use-emulators $(if $(filter-out 0,$(VIEW)),--view --view-port $(PORT)) $(ARGS)

rviz: setup  ## the simulation with RViz (needs a full ROS installation)
	@$(ENV) command -v ros2 >/dev/null || { echo "rviz needs a full ROS 2 installation: source it, then make distclean rviz"; exit 2; }; \
		exec ros2 launch udg_sim sim.launch.py rviz:=true $(ARGS)

clean:  ## remove the colcon workspace and caches
	@rm -rf build install log .pytest_cache .mypy_cache .ruff_cache
	@find src tools launch -name __pycache__ -prune -exec rm -rf {} +
	@find src -name '*.egg-info' -prune -exec rm -rf {} +

distclean: clean  ## clean, and remove the virtual environment
	@rm -rf .venv
