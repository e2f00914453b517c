"""From what a user types to a model: `openai/NAME`, `vllm/NAME`, `http://host:port/v1#NAME`, or a scripted one."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

from agentlab.models.address import Address, parse_address, without_credentials
from agentlab.models.options import DEFAULT_OPTIONS, ClientOptions
from agentlab.models.protocol import Model, ModelError

if TYPE_CHECKING:
    from agentlab.models.client import EndpointModel
    from agentlab.models.prices import Price
    from agentlab.models.transport import Endpoint, Transport

_LISTED = 20
SCRIPTED = ("reference", "nop", "random", "majority")
DEFAULT_URLS = {"openai": "https://api.openai.com/v1", "vllm": "http://127.0.0.1:8000/v1"}
_URL_VARIABLES = {"openai": "OPENAI_BASE_URL", "vllm": "VLLM_BASE_URL"}
_FORMS = "openai/NAME, vllm/NAME, http://HOST:PORT/v1#NAME, or one of " + ", ".join(SCRIPTED)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model. `name` is empty where the endpoint is to be asked; `address` is None for scripted models."""

    provider: Literal["openai", "vllm", "endpoint", "scripted"]
    name: str
    address: Address | None = None

    @property
    def base_url(self) -> str:
        """The address as it may be shown: without credentials and query."""
        return self.address.base_url if self.address is not None else ""

    @property
    def shown(self) -> str:
        """What a person types for this model, with placeholders where there is a user and a password."""
        if self.provider != "endpoint" or self.address is None:
            return self.label
        scheme, _, place = self.base_url.partition("://")
        login = "USER:PASSWORD@" if self.address.authorization else ""
        return f"{scheme}://{login}{place}" + (f"#{self.name}" if self.name else "")

    @property
    def label(self) -> str:
        """The name that results carry."""
        return f"{self.provider}/{self.name}" if self.provider in DEFAULT_URLS else self.name


def parse_model(spec: str) -> ModelSpec:
    """Read what `--model` was given. Raises `ModelError("bad_request")` for anything else, naming what is near."""
    spec = spec.strip()
    if not spec.isprintable():
        raise ModelError(
            "bad_request", f"a model's name is text without control characters, not {without_credentials(spec)[:100]!r}"
        )
    if spec in SCRIPTED:
        return ModelSpec("scripted", spec)
    if spec.startswith(("http://", "https://")):
        return _parse_address(spec)
    provider, slash, name = spec.partition("/")
    if slash and name and provider == "openai":
        return ModelSpec("openai", name, _default_address("openai"))
    if slash and name and provider == "vllm":
        return ModelSpec("vllm", name, _default_address("vllm"))
    near = get_close_matches(provider.lower(), (*SCRIPTED, *DEFAULT_URLS), 1)
    hint = f" (did you mean {near[0]}{'/' + (name or 'NAME') if near[0] in DEFAULT_URLS else ''}?)" if near else ""
    raise ModelError("bad_request", f"unknown model {without_credentials(spec)!r}{hint}: give {_FORMS}")


async def open_model(spec: ModelSpec | str, options: ClientOptions = DEFAULT_OPTIONS) -> EndpointModel:
    """A client for `spec`. Where `spec` names no model the endpoint is asked, and the only one that it serves is taken.

    Raises `ModelError`: `bad_request` where the choice is not clear or the model is scripted (those are built for each
    trial), `unsupported` where a cost ceiling is set and no price is known.
    """
    wanted = parse_model(spec) if isinstance(spec, str) else spec
    if wanted.provider == "scripted":
        raise ModelError("bad_request", f"{wanted.name} is a scripted model: it is built from each sample, not opened")
    if not wanted.name:
        wanted = replace(wanted, name=await _only_served(wanted, options))
    return _client(wanted, options, _price(wanted, options))


async def probe(model: Model, *, unlisted: bool | None = False) -> None:
    """Ask once, without retries, whether the endpoint is there and serves the model; scripted models always are.
    `unlisted` lets a model pass that the endpoint does not list; None where there is no setting that could say so.

    Raises `ModelError`: `connection`, `timeout` or `bad_response` where nothing answers that speaks HTTP, `auth` where
    the key is refused, `not_found` where the endpoint lists other models only. An endpoint that has no list of models
    is believed.
    """
    from agentlab.models.client import EndpointModel

    if not isinstance(model, EndpointModel):
        return
    try:
        served = await model.served_models()
    except ModelError as error:
        no_http = error.status is None
        if no_http or error.kind == "auth" or (error.kind == "not_found" and model.lacks_path):
            raise
        return
    # A pattern in the list belongs to a gateway that serves more than it names.
    if not unlisted and served and model.model not in served and not any("*" in name for name in served):
        near = get_close_matches(model.model, served[:1000], 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ModelError(
            "not_found",
            f"{model.where} is not served there{hint}: it has {_listed(served)}"
            + ("" if unlisted is None else "; --set endpoint.unlisted=true asks for it all the same"),
        )


def _parse_address(spec: str) -> ModelSpec:
    text, _, name = spec.partition("#")
    address = parse_address(text, "--model", name)
    if address.query:
        raise ModelError(
            "bad_request",
            f"the address {address.base_url} in --model has a query (?...), which would be stored with the run: leave "
            "it out, and put a key into the variable OPENAI_API_KEY, or into the one that endpoint.api_key_env names",
        )
    return ModelSpec("endpoint", name, address)


def _default_address(provider: Literal["openai", "vllm"]) -> Address:
    variable = _URL_VARIABLES[provider]
    return parse_address(os.environ.get(variable) or DEFAULT_URLS[provider], variable)


async def _only_served(wanted: ModelSpec, options: ClientOptions) -> str:
    model = _client(wanted, options, None)
    try:
        served = await model.served_models()
    finally:
        await model.close()
    if len(served) == 1:
        return served[0]
    if not served:
        raise ModelError("not_found", f"{wanted.base_url} lists no model: name one with #NAME")
    choices = _listed(tuple(replace(wanted, name=name).shown for name in served[:_LISTED]))
    raise ModelError("bad_request", f"{wanted.base_url} serves {len(served)} models, choose one: {choices}")


def _listed(names: tuple[str, ...]) -> str:
    """The first of the names that an endpoint gave, none of them long."""
    return ", ".join(name if len(name) <= 200 else f"{name[:199]}…" for name in names[:_LISTED])


def _client(wanted: ModelSpec, options: ClientOptions, price: Price | None) -> EndpointModel:
    from agentlab.models.client import EndpointModel
    from agentlab.models.requests import RequestEncoder
    from agentlab.models.transport import Endpoint

    address = wanted.address
    assert address is not None, "a scripted model has no client"
    key = _api_key(wanted, options)
    login = {"Authorization": address.authorization} if address.authorization else {}
    endpoint = Endpoint(
        address.base_url,
        query=address.query,
        api_key=key,
        headers={**login, **options.headers},
        hidden=address.secrets,
        timeout_s=options.timeout_s,
        connect_timeout_s=options.connect_timeout_s,
    )
    encoder = RequestEncoder(
        wanted.name,
        stream=options.stream,
        send_reasoning=options.send_reasoning,
        max_tokens_field="max_completion_tokens" if wanted.provider == "openai" else "max_tokens",
    )
    transport = _transport(wanted, options, endpoint)
    return EndpointModel(
        wanted.label, endpoint=endpoint, transport=transport, encoder=encoder, options=options, price=price
    )


def _transport(wanted: ModelSpec, options: ClientOptions, endpoint: Endpoint) -> Transport:
    client = options.client or ("openai" if wanted.provider == "openai" else "direct")
    if client == "openai":
        from agentlab.models.openai_sdk import SdkTransport

        return SdkTransport(endpoint)
    from agentlab.models.direct import DirectTransport

    return DirectTransport(endpoint)


def _api_key(wanted: ModelSpec, options: ClientOptions) -> str:
    variable = options.api_key_env or "OPENAI_API_KEY"
    if wanted.address is not None and wanted.address.authorization:
        if options.api_key_env:
            told = f"{wanted.base_url} is given a user and a password, and a key by endpoint.api_key_env: choose one"
            raise ModelError("bad_request", told)
        return ""
    key = os.environ.get(variable, "").strip()
    if not key and (options.api_key_env or wanted.base_url == DEFAULT_URLS["openai"]):
        raise ModelError("auth", f"{wanted.base_url} needs a key: set the variable {variable}")
    return key


def _price(wanted: ModelSpec, options: ClientOptions) -> Price | None:
    price = options.prices.find(wanted.label, wanted.name) if options.prices is not None else None
    if price is None and options.cost is not None and options.cost.max_cost is not None:
        raise ModelError(
            "unsupported",
            f"no price is known for {wanted.label}, so a cost ceiling cannot hold: "
            "name a file that has one, --set endpoint.prices=FILE",
        )
    return price
