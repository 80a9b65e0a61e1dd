"""Settings of one role's model: which one, where it is, and how it is called."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, model_validator

from backends.models.names import PLAYBOOK, check_model, provider_of
from experiments.errors import ModelError


def _known(name: str) -> str:
    try:
        return check_model(name)
    except ModelError as error:
        raise ValueError(f"{error.message}; {error.hint}") from error


ModelName = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_known)]
Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ModelSettings(BaseModel):
    """A model and how it is called; a name alone stands for all defaults."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, protected_namespaces=()
    )

    model: ModelName = PLAYBOOK
    """ "playbook" (offline, no key), a LiteLLM name such as "anthropic/claude-opus-4-5", or "replay:FILE"."""
    api_base: str | None = Field(default=None, max_length=2000, pattern=r"^https?://[^\s/]+\S*$")
    """Address of the provider's or your own server, e.g. "http://127.0.0.1:8080/v1"."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Environment variable that holds the key, by default the provider's own; keys never belong in this file."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Randomness of the answers; absent: the role's, else the provider's."""
    max_tokens: int | None = Field(default=None, ge=16, le=1_000_000)
    """Longest answer, in tokens."""
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = None
    """How long models that can should think."""
    timeout: float = Field(default=120.0, gt=0, le=3600, allow_inf_nan=False)
    """Seconds without a word after which a call counts as failed."""
    fallbacks: tuple[ModelName, ...] = Field(default=(), strict=False)
    """Models to ask when this one cannot answer, in this order, before the playbook does the phase."""
    tools: Literal["auto", "native", "json"] = "auto"
    """How tools are called: by the provider's own means, by JSON in the text, or whichever the model supports."""
    input_price: Dollars | None = None
    """Dollars per million tokens in, where LiteLLM knows no price."""
    output_price: Dollars | None = None
    """Dollars per million tokens out, where LiteLLM knows no price."""
    context: int | None = Field(default=None, ge=512)
    """Tokens that the model can hold, where LiteLLM does not know."""

    @model_validator(mode="wrap")
    @classmethod
    def _from_name(cls, value: Any, handler: ModelWrapValidatorHandler[ModelSettings]) -> ModelSettings:
        return handler({"model": value} if isinstance(value, str) else value)

    def renamed(self, model: str) -> ModelSettings:
        """The settings for another model: those of an endpoint stay with a provider, prices and context with a model.

        Raises:
            ModelError: No backend takes the name.
        """
        check_model(model)
        if model == self.model:
            return self
        dropped = {"input_price", "output_price", "context", "fallbacks"}
        if provider_of(model) != provider_of(self.model):
            dropped |= {"api_base", "api_key_env", "tools", "reasoning_effort", "temperature", "max_tokens"}
        kept = {name: getattr(self, name) for name in self.model_fields_set - dropped}
        return ModelSettings(**{**kept, "model": model})

    def to_config(self) -> str | dict[str, Any]:
        """As in config.json: the name alone where nothing else is set."""
        chosen = {"model": self.model} | self.model_dump(mode="json", exclude_unset=True)
        return self.model if list(chosen) == ["model"] else chosen
