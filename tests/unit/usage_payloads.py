"""Real shapes of usage, one for each API, with what they mean in disjoint parts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

Payload = tuple[dict[str, Any], dict[str, Any]]

OPENAI = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_790_000_000,
    "model": "gpt-5.5-2026-04-23",
    "service_tier": "priority",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Hi", "refusal": None},
        }
    ],
    "usage": {
        "prompt_tokens": 1000,
        "completion_tokens": 300,
        "total_tokens": 1300,
        "prompt_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 100, "audio_tokens": 50},
        "completion_tokens_details": {
            "reasoning_tokens": 120,
            "audio_tokens": 40,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 7,
        },
    },
}
RESPONSES = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_790_000_000,
    "status": "incomplete",
    "model": "gpt-5.6-luna",
    "service_tier": "default",
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "output": [
        {
            "type": "web_search_call",
            "id": "ws_1",
            "status": "completed",
            "action": {"type": "search", "query": "a"},
        },
        {
            "type": "web_search_call",
            "id": "ws_2",
            "status": "completed",
            "action": {"type": "search", "query": "b"},
        },
    ],
    "usage": {
        "input_tokens": 900,
        "input_tokens_details": {"cached_tokens": 500, "cache_write_tokens": 200},
        "output_tokens": 80,
        "output_tokens_details": {"reasoning_tokens": 64},
        "total_tokens": 980,
    },
}
ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 100,
        "output_tokens": 50,
        "cache_creation_input_tokens": 700,
        "cache_read_input_tokens": 2000,
        "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 400},
        "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 0},
        "service_tier": "standard",
    },
}

PAYLOADS: dict[str, Payload] = {
    "openai chat": (
        OPENAI,
        {
            "input_tokens": 250,
            "output_tokens": 260,
            "cache_read_tokens": 600,
            "cache_write_tokens": 100,
            "reasoning_tokens": 120,
            "input_audio_tokens": 50,
            "output_audio_tokens": 40,
            "tier": "priority",
            "model": "gpt-5.5-2026-04-23",
        },
    ),
    "openai responses": (
        RESPONSES,
        {
            "input_tokens": 200,
            "output_tokens": 80,
            "cache_read_tokens": 500,
            "cache_write_tokens": 200,
            "reasoning_tokens": 64,
            "web_searches": 2,
            "tier": "default",
            "model": "gpt-5.6-luna",
        },
    ),
    "anthropic": (
        ANTHROPIC,
        {
            "input_tokens": 100,
            "output_tokens": 50,
            "cache_write_tokens": 300,
            "cache_write_1h_tokens": 400,
            "cache_read_tokens": 2000,
            "web_searches": 3,
            "tier": "standard",
            "model": "claude-opus-5",
        },
    ),
    "anthropic, fast, in the US, thinking": (
        {
            "usage": {
                "input_tokens": 9,
                "output_tokens": 50,
                "cache_read_input_tokens": 0,
                "cache_creation_input_tokens": 0,
                "output_tokens_details": {"thinking_tokens": 30},
                "speed": "fast",
                "inference_geo": "us",
                "service_tier": "standard",
            }
        },
        {"input_tokens": 9, "output_tokens": 50, "reasoning_tokens": 30, "tier": "fast+us"},
    ),
    "anthropic beta, compacted": (
        {
            "usage": {
                "input_tokens": 45,
                "output_tokens": 1234,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "iterations": [
                    {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3500},
                    {
                        "type": "message",
                        "input_tokens": 45,
                        "output_tokens": 1234,
                        "cache_read_input_tokens": 10,
                        "cache_creation_input_tokens": 20,
                        "cache_creation": {"ephemeral_1h_input_tokens": 20, "ephemeral_5m_input_tokens": 0},
                    },
                ],
            }
        },
        {
            "input_tokens": 180_045,
            "output_tokens": 4734,
            "cache_read_tokens": 10,
            "cache_write_1h_tokens": 20,
        },
    ),
    "gemini": (
        {
            "modelVersion": "gemini-3.1-pro-preview",
            "candidates": [
                {
                    "finishReason": "STOP",
                    "content": {"parts": [{"text": "Hi"}], "role": "model"},
                    "groundingMetadata": {"webSearchQueries": ["a", "b"]},
                }
            ],
            "usageMetadata": {
                "promptTokenCount": 1000,
                "cachedContentTokenCount": 400,
                "candidatesTokenCount": 50,
                "thoughtsTokenCount": 200,
                "toolUsePromptTokenCount": 30,
                "totalTokenCount": 1280,
                "trafficType": "ON_DEMAND_PRIORITY",
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 700},
                    {"modality": "AUDIO", "tokenCount": 200},
                    {"modality": "IMAGE", "tokenCount": 100},
                ],
                "cacheTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 350},
                    {"modality": "AUDIO", "tokenCount": 50},
                ],
                "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 50}],
            },
        },
        {
            "input_tokens": 380,
            "output_tokens": 250,
            "cache_read_tokens": 400,
            "reasoning_tokens": 200,
            "input_audio_tokens": 150,
            "input_image_tokens": 100,
            "cache_read_audio_tokens": 50,
            "web_searches": 2,
            "tier": "priority",
            "model": "gemini-3.1-pro-preview",
        },
    ),
    "bedrock converse": (
        {
            "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}},
            "stopReason": "end_turn",
            "metrics": {"latencyMs": 400},
            "serviceTier": {"type": "flex"},
            "usage": {
                "inputTokens": 10,
                "outputTokens": 20,
                "totalTokens": 530,
                "cacheReadInputTokens": 300,
                "cacheWriteInputTokens": 200,
                "cacheDetails": [{"ttl": "1h", "inputTokens": 150}, {"ttl": "5m", "inputTokens": 50}],
            },
        },
        {
            "input_tokens": 10,
            "output_tokens": 20,
            "cache_read_tokens": 300,
            "cache_write_tokens": 50,
            "cache_write_1h_tokens": 150,
            "tier": "flex",
        },
    ),
    "bedrock nova, invoked": (
        {
            "usage": {
                "inputTokens": 7,
                "outputTokens": 3,
                "cacheReadInputTokenCount": 4,
                "cacheWriteInputTokenCount": 5,
            }
        },
        {"input_tokens": 7, "output_tokens": 3, "cache_read_tokens": 4, "cache_write_tokens": 5},
    ),
    "bedrock llama, invoked": (
        {"generation": "Hi", "prompt_token_count": 12, "generation_token_count": 4, "stop_reason": "stop"},
        {"input_tokens": 12, "output_tokens": 4},
    ),
    "bedrock titan, invoked": (
        {
            "inputTextTokenCount": 5,
            "results": [{"tokenCount": 11, "outputText": "Hi", "completionReason": "FINISH"}],
        },
        {"input_tokens": 5, "output_tokens": 11},
    ),
    "bedrock, invoked, body not read": (
        {
            "ResponseMetadata": {
                "HTTPHeaders": {
                    "x-amzn-bedrock-input-token-count": "31",
                    "x-amzn-bedrock-output-token-count": "9",
                    "x-amzn-bedrock-cache-read-input-token-count": "2",
                }
            }
        },
        {"input_tokens": 31, "output_tokens": 9, "cache_read_tokens": 2},
    ),
    "mistral": (
        {
            "model": "mistral-large-2512",
            "usage": {
                "prompt_tokens": 20,
                "completion_tokens": 5,
                "total_tokens": 25,
                "prompt_tokens_details": {"cached_tokens": 16},
                "service_tier": "batch",
            },
        },
        {
            "input_tokens": 4,
            "output_tokens": 5,
            "cache_read_tokens": 16,
            "tier": "batch",
            "model": "mistral-large-2512",
        },
    ),
    "cohere v2": (
        {
            "id": "c",
            "finish_reason": "COMPLETE",
            "message": {"role": "assistant"},
            "usage": {
                "billed_units": {"input_tokens": 5.0, "output_tokens": 418.0},
                "tokens": {"input_tokens": 71.0, "output_tokens": 418.0},
            },
        },
        {"input_tokens": 5, "output_tokens": 418},
    ),
    "cohere v1": (
        {
            "text": "Hi",
            "meta": {
                "billed_units": {"input_tokens": 4, "output_tokens": 2},
                "api_version": {"version": "1"},
            },
        },
        {"input_tokens": 4, "output_tokens": 2},
    ),
    "groq stream": (
        {
            "choices": [],
            "x_groq": {"id": "r", "usage": {"prompt_tokens": 8, "completion_tokens": 2, "queue_time": 0.1}},
        },
        {"input_tokens": 8, "output_tokens": 2},
    ),
    "deepseek": (
        {
            "model": "deepseek-flash",
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": 40,
                "total_tokens": 140,
                "prompt_cache_hit_tokens": 64,
                "prompt_cache_miss_tokens": 36,
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
        },
        {
            "input_tokens": 36,
            "output_tokens": 40,
            "cache_read_tokens": 64,
            "reasoning_tokens": 30,
            "model": "deepseek-flash",
        },
    ),
    "xai chat": (
        {
            "model": "grok-4.5",
            "usage": {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "prompt_tokens_details": {"text_tokens": 32, "cached_tokens": 8, "image_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 94},
                "num_sources_used": 0,
                "cost_in_usd_ticks": 12_500_000,
            },
        },
        {
            "input_tokens": 24,
            "output_tokens": 103,
            "cache_read_tokens": 8,
            "reasoning_tokens": 94,
            "reported_cost_usd": Decimal("0.00125"),
            "model": "grok-4.5",
        },
    ),
    "xai responses": (
        {
            "usage": {
                "input_tokens": 32,
                "input_tokens_details": {"cached_tokens": 6},
                "output_tokens": 200,
                "output_tokens_details": {"reasoning_tokens": 190},
                "num_sources_used": 0,
                "server_side_tool_usage_details": {"web_search_calls": 2},
                "cost_in_usd_ticks": 5,
            }
        },
        {
            "input_tokens": 26,
            "output_tokens": 200,
            "cache_read_tokens": 6,
            "reasoning_tokens": 190,
            "web_searches": 2,
            "reported_cost_usd": Decimal("0.0000000005"),
        },
    ),
    "perplexity": (
        {
            "model": "sonar-deep-research",
            "usage": {
                "prompt_tokens": 33,
                "completion_tokens": 7000,
                "total_tokens": 7033,
                "citation_tokens": 20_000,
                "num_search_queries": 18,
                "reasoning_tokens": 73_000,
                "search_context_size": "low",
                "cost": {"input_tokens_cost": 0.1, "total_cost": 0.456},
            },
        },
        {
            "input_tokens": 33,
            "output_tokens": 80_000,
            "reasoning_tokens": 73_000,
            "citation_tokens": 20_000,
            "web_searches": 18,
            "reported_cost_usd": Decimal("0.456"),
            "model": "sonar-deep-research",
        },
    ),
    "openrouter": (
        {
            "model": "anthropic/claude-opus-5",
            "provider": "Anthropic",
            "usage": {
                "prompt_tokens": 194,
                "completion_tokens": 2,
                "total_tokens": 196,
                "cost": 0.00095,
                "is_byok": False,
                "cost_details": {"upstream_inference_cost": None},
                "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 50, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0, "image_tokens": 0},
            },
        },
        {
            "input_tokens": 44,
            "output_tokens": 2,
            "cache_read_tokens": 100,
            "cache_write_tokens": 50,
            "reported_cost_usd": Decimal("0.00095"),
            "model": "anthropic/claude-opus-5",
        },
    ),
    "openrouter, free": (
        {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": 0}},
        {"input_tokens": 1, "output_tokens": 1, "reported_cost_usd": Decimal(0)},
    ),
    "moonshot": (
        {
            "choices": [
                {"index": 0, "usage": {"prompt_tokens": 8, "completion_tokens": 3, "cached_tokens": 2}}
            ]
        },
        {"input_tokens": 6, "output_tokens": 3, "cache_read_tokens": 2},
    ),
    "ollama": (
        {"model": "llama3.2", "done": True, "prompt_eval_count": 26, "eval_count": 298, "total_duration": 5},
        {"input_tokens": 26, "output_tokens": 298, "model": "llama3.2"},
    ),
    "ollama, prompt cached": ({"done": True, "eval_count": 2}, {"input_tokens": 0, "output_tokens": 2}),
    "litellm, anthropic behind": (
        {
            "model": "claude-opus-5",
            "usage": {
                "prompt_tokens": 1000,
                "completion_tokens": 10,
                "total_tokens": 1010,
                "prompt_tokens_details": {
                    "cached_tokens": 600,
                    "cache_creation_tokens": 300,
                    "cache_creation_token_details": {
                        "ephemeral_5m_input_tokens": 100,
                        "ephemeral_1h_input_tokens": 200,
                    },
                },
                "cache_creation_input_tokens": 300,
                "cache_read_input_tokens": 600,
                "server_tool_use": {"web_search_requests": 1},
            },
        },
        {
            "input_tokens": 100,
            "output_tokens": 10,
            "cache_read_tokens": 600,
            "cache_write_tokens": 100,
            "cache_write_1h_tokens": 200,
            "web_searches": 1,
            "model": "claude-opus-5",
        },
    ),
    "openai-agents": (
        {
            "requests": 3,
            "input_tokens": 500,
            "input_tokens_details": {"cached_tokens": 100},
            "output_tokens": 60,
            "output_tokens_details": {"reasoning_tokens": 20},
            "total_tokens": 560,
        },
        {
            "input_tokens": 400,
            "output_tokens": 60,
            "cache_read_tokens": 100,
            "reasoning_tokens": 20,
            "requests": 3,
        },
    ),
    "pydantic-ai": (
        {
            "input_tokens": 1000,
            "cache_write_tokens": 200,
            "cache_read_tokens": 300,
            "output_tokens": 50,
            "input_audio_tokens": 80,
            "cache_audio_read_tokens": 30,
            "output_audio_tokens": 10,
            "details": {"reasoning_tokens": 25},
            "requests": 2,
            "tool_calls": 1,
        },
        {
            "input_tokens": 450,
            "output_tokens": 40,
            "cache_write_tokens": 200,
            "cache_read_tokens": 300,
            "input_audio_tokens": 50,
            "cache_read_audio_tokens": 30,
            "output_audio_tokens": 10,
            "reasoning_tokens": 25,
            "requests": 2,
        },
    ),
    "langchain": (
        {
            "content": "Hi",
            "response_metadata": {"model_name": "claude-opus-5"},
            "usage_metadata": {
                "input_tokens": 1000,
                "output_tokens": 50,
                "total_tokens": 1050,
                "input_token_details": {
                    "cache_read": 400,
                    "cache_creation": 0,
                    "ephemeral_5m_input_tokens": 100,
                    "ephemeral_1h_input_tokens": 200,
                },
                "output_token_details": {"reasoning": 20},
            },
        },
        {
            "input_tokens": 300,
            "output_tokens": 50,
            "cache_read_tokens": 400,
            "cache_write_tokens": 100,
            "cache_write_1h_tokens": 200,
            "reasoning_tokens": 20,
            "model": "claude-opus-5",
        },
    ),
    "langchain, by its response metadata": (
        {
            "content": "Hi",
            "usage_metadata": None,
            "response_metadata": {
                "token_usage": {"prompt_tokens": 9, "completion_tokens": 1},
                "model_name": "gpt-5.5",
                "service_tier": "flex",
            },
        },
        {"input_tokens": 9, "output_tokens": 1, "model": "gpt-5.5", "tier": "flex"},
    ),
    "openai realtime": (
        {
            "usage": {
                "total_tokens": 253,
                "input_tokens": 132,
                "output_tokens": 121,
                "input_token_details": {
                    "text_tokens": 119,
                    "audio_tokens": 13,
                    "cached_tokens": 64,
                    "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 4},
                },
                "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
            }
        },
        {
            "input_tokens": 59,
            "output_tokens": 30,
            "cache_read_tokens": 64,
            "cache_read_audio_tokens": 4,
            "input_audio_tokens": 9,
            "output_audio_tokens": 91,
        },
    ),
    "openai images": (
        {
            "usage": {
                "input_tokens": 60,
                "input_tokens_details": {"image_tokens": 50, "text_tokens": 10},
                "output_tokens": 1056,
                "total_tokens": 1116,
            }
        },
        {"input_tokens": 10, "input_image_tokens": 50, "output_tokens": 1056},
    ),
}
