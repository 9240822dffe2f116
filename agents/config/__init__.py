"""Schemas of every command's configuration: what may be set, of what type, within what bounds.

The YAML in conf/ holds the values; `agents.cli` merges it with these classes, so that an unknown key or a
value of the wrong type is an error before anything starts. What a value means is said beside it in conf/.
"""

from agents.config.coldstart import ColdstartConfig, DirectConfig, FewShotConfig, RefineConfig
from agents.config.common import (
    EngineConfig,
    EnvConfig,
    LoggerConfig,
    LoraConfig,
    ModelConfig,
    PromptConfig,
    RewardConfig,
    RunConfig,
)
from agents.config.curation import DecontaminateConfig, FilterConfig, GenerationConfig, JudgeConfig
from agents.config.distill import DistillAgentConfig, DistillConfig, DistillEvalConfig, TeacherConfig
from agents.config.evaluation import RLEvalConfig
from agents.config.grpo import GRPOAgentConfig, GRPOConfig
from agents.config.ppo import PPOAgentConfig, PPOConfig
from agents.config.rejection import GeneralConfig, RejectionConfig
from agents.config.sft import DataConfig, SFTAgentConfig, SFTConfig, SFTEvalConfig, SourceConfig
from agents.config.study import ArmConfig, PanelConfig, StageConfig, StudyConfig, StudyGroupConfig

__all__ = [
    "ArmConfig",
    "ColdstartConfig",
    "DataConfig",
    "DecontaminateConfig",
    "DirectConfig",
    "DistillAgentConfig",
    "DistillConfig",
    "DistillEvalConfig",
    "EngineConfig",
    "EnvConfig",
    "FewShotConfig",
    "FilterConfig",
    "GRPOAgentConfig",
    "GRPOConfig",
    "GeneralConfig",
    "GenerationConfig",
    "JudgeConfig",
    "LoggerConfig",
    "LoraConfig",
    "ModelConfig",
    "PPOAgentConfig",
    "PPOConfig",
    "PanelConfig",
    "PromptConfig",
    "RLEvalConfig",
    "RefineConfig",
    "RejectionConfig",
    "RewardConfig",
    "RunConfig",
    "SFTAgentConfig",
    "SFTConfig",
    "SFTEvalConfig",
    "SourceConfig",
    "StageConfig",
    "StudyConfig",
    "StudyGroupConfig",
    "TeacherConfig",
]
