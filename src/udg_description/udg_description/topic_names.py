"""Names of the topics that recordings are read by, without ROS; `ros/topics.py` has the whole table."""

JOINT_STATES = "/joint_states"
SCENE_CLOUD = "/scene_cloud"
ACTION_CHUNK = "/action_chunk"
JOINT_COMMAND = "/joint_command"  # of the real robot
SIM_JOINT_COMMAND = "/sim/joint_command"
TRIAL_STATUS = "/sim/trial_status"
