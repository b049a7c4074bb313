"""The table of what means what.

A row names a kind and everything that speaks for it.  Evidence is heard in this order, so that the most exact
wins; within one column the first row wins:

1. ``types``: classes that leave no doubt, wherever they come in the class hierarchy;
2. ``codes``: exact error codes, from attributes, bodies, ``errno`` or SQLite;
3. ``says``, ``complains``: words of a provider's own message, the latter only when it refused the request
   itself (no status, or a status below 500 other than 429);
4. ``statuses``: HTTP status codes;
5. ``broad``: codes that only repeat the status, for errors that come without one (inside a stream, say);
6. ``kin``: classes that say roughly what it is; what caused them may know better;
7. ``text``: words in the text of an exception that has no facts at all;
8. ``bugs``: built-in exceptions that only wrong code raises; ``last``: classes that speak when even the
   text is silent.

``sharpens`` is asked where a class or code has decided for the kind ``within``: an expired certificate is a
network error that no repetition mends, and a limit per day comes under the code of limits per minute.

Class names are written ``RateLimitError`` (of any package), ``openai.APIError`` (top-level package and name),
with a star at either end for families of names.  Codes are compared in lower case.  Phrases are in lower
case and match whole words; a star lets the word at that end go on, and ``…`` stands for a few words between.
"""

from __future__ import annotations

from techrevati.runtime.failures.rule import Rule
from techrevati.runtime.failures.vocabulary import FailureKind, FailureOrigin, FailureScenario

_CALLER, _NETWORK, _PROVIDER = FailureOrigin.CALLER, FailureOrigin.NETWORK, FailureOrigin.PROVIDER
_RUNTIME, _STORAGE, _TOOL = FailureOrigin.RUNTIME, FailureOrigin.STORAGE, FailureOrigin.TOOL
_CORRUPTION, _WAITED = FailureScenario.MEMORY_CORRUPTION, FailureScenario.DEPENDENCY_TIMEOUT
_PROVIDER_FAILURE, _TOOL_FAILURE = FailureScenario.PROVIDER_FAILURE, FailureScenario.TOOL_EXECUTION_ERROR
_K = FailureKind

# What waiting does not change.
_NOTHING_IS_FREE = (
    "doesn't have a free quota*", "doesn't have a free tier", "does not have a free quota*",
    "does not have a free tier", "no free tier", "no free quota*", "not available … free tier",
    "not included … free tier",
)  # fmt: skip

RULES: tuple[Rule, ...] = (
    # --- our own errors, by name: their modules import this one -----------------------------------
    Rule(
        _K.OVERLOADED,
        _RUNTIME,
        types="techrevati.CircuitOpenError techrevati.NoTargetError techrevati.*FullError"
        " techrevati.*BusyError techrevati.*ShedError",
    ),
    Rule(_K.RATE_LIMIT, _RUNTIME, types="techrevati.RateLimitExceededError techrevati.RateLimitedError"),
    # A deadline that has passed stays passed.
    Rule(
        _K.TIMEOUT, _RUNTIME, retryable=False, types="techrevati.DeadlineExceededError"
        " techrevati.DeadlineError"
    ),
    # The model did not answer, or fell silent, within its time: that is news about the model.
    Rule(
        _K.TIMEOUT,
        _PROVIDER,
        types="techrevati.*TimeoutError techrevati.*StalledError techrevati.*IdleError",
    ),
    Rule(
        _K.RESOURCE_EXHAUSTED,
        _RUNTIME,
        types="techrevati.BudgetExceededError techrevati.MaxIterationsExceededError"
        " techrevati.LoopDetectedError",
    ),
    # A human has not allowed this act, or no longer: asking the same again changes nothing.
    Rule(
        _K.PERMISSION,
        _RUNTIME,
        _TOOL_FAILURE,
        types="techrevati.*DeniedError techrevati.ApprovalError techrevati.ApprovalPendingError"
        " techrevati.ApprovalExpiredError techrevati.ApprovalConsumedError"
        " techrevati.ApprovalMismatchError techrevati.UnknownApprovalError",
    ),
    # It was done: to do it again would do it twice.
    Rule(
        _K.OUTPUT_VALIDATION,
        _RUNTIME,
        retryable=False,
        types="techrevati.ResultNotStorableError",
    ),
    # Full, read-only, locked: the place where we keep records, never the provider.
    Rule(_K.RESOURCE_EXHAUSTED, _STORAGE, retryable=True, types="techrevati.StoreLockedError"),
    Rule(_K.RESOURCE_EXHAUSTED, _STORAGE, retryable=False, types="techrevati.StoreUnavailableError"),
    Rule(_K.CONTENT_POLICY, _RUNTIME, types="techrevati.GuardrailViolatedError"),
    Rule(
        _K.STORAGE_CORRUPTION,
        types="techrevati.*CorruptError techrevati.*CorruptedError techrevati.*CorruptionError",
    ),
    Rule(_K.INVALID_REQUEST, _CALLER, types="techrevati.InvalidTransitionError"),
    Rule(_K.SERVER_ERROR, types="techrevati.UnreadableReplyError"),
    Rule(_K.OUTPUT_VALIDATION, types="techrevati.ToolCallError techrevati.OutputInvalidError"),
    Rule(_K.INVALID_REQUEST, _RUNTIME, kin="techrevati.TechrevatiError"),
    # --- stopping ---------------------------------------------------------------------------------
    Rule(_K.TIMEOUT, _NETWORK, text=("aborted due to timeout", "aborted due to a timeout")),
    # A human who does not answer has not allowed it.
    Rule(
        _K.PERMISSION,
        _RUNTIME,
        _TOOL_FAILURE,
        text=("waiting for approval", "waiting for … approval", "approval timed out",
              "approval request timed out", "approval expired", "approval has expired"),
    ),
    Rule(
        _K.CANCELLED,
        types="asyncio.CancelledError concurrent.CancelledError trio.Cancelled builtins.KeyboardInterrupt"
        " builtins.SystemExit builtins.GeneratorExit pydantic_ai.RunCancelled",
        statuses=(499,),
        broad="cancelled client_closed_request",
        kin="CancelledError Cancelled OperationCancelled",
        text=(
            "was cancelled", "was canceled", "operation cancelled", "operation canceled", "request cancelled",
            "cancelled by", "canceled by", "operation was aborted", "operation aborted",
            "aborted by the user", "aborted by user", "cancellederror",
        ),
    ),
    # The model wrote a call or JSON that the provider itself could not read.
    Rule(_K.OUTPUT_VALIDATION, codes="tool_use_failed json_validate_failed"),
    # --- tools: what fails inside a tool is no news about the model's provider --------------------
    Rule(_K.TIMEOUT, _TOOL, _WAITED, types="ToolTimeoutError subprocess.TimeoutExpired"),
    Rule(_K.RESOURCE_EXHAUSTED, _RUNTIME, types="ToolCallLimitExceededError ModelCallLimitExceededError"),
    Rule(
        _K.TOOL_ERROR,
        types="ToolError ToolExecutionError ToolException ToolFailed McpError MCPError"
        " subprocess.CalledProcessError subprocess.SubprocessError *Tool*",
        broad="tool_error tool_execution_error",
        text=(
            "failed to call tool",
            "tool execution failed", "tool execution error", "tool call failed", "tool failed", "tool error",
            "error executing tool", "error in tool", "failed to execute tool", "tool invocation failed",
            "tool raised", "tool crashed", "tool … failed", "tool … raised", "tool … crashed", "toolerror",
            "toolexecutionerror", "toolexception",
            "mcp error -326*", ": command not found", "failed to spawn", "program not found",
            "executable not found", "spawn … enoent", "non-zero exit status", "non-zero exit code",
        ),
    ),
    # --- a daily quota, before everything that looks like a rate limit ----------------------------
    # A limit of nothing never lets anything through; Azure names the window of a limit, not its words.
    Rule(
        _K.QUOTA_EXHAUSTED,
        types="litellm.BudgetExceededError",
        says=("*, limit: 0", "limit 0, used", "limit 0, requested", "*byday", "*per_day*", "per 86400s",
              *_NOTHING_IS_FREE),
        sharpens=("*, limit: 0", "limit 0, used", "limit 0, requested", "*byday", "*per_day*", "per 86400s",
                  "current month", "this month", "billing period", "billing cycle",
                  "daily … quota", "monthly … quota", "daily … limit", "monthly … limit",
                  *_NOTHING_IS_FREE),
        within=_K.RATE_LIMIT,
    ),
    Rule(
        _K.QUOTA_EXHAUSTED,
        codes="daily_quota dailylimitexceeded",
        says=(
            "*perday*", "free-models-per-day", "daily limit*", "daily quota", "daily request limit",
            "monthly limit*", "dailylimitexceeded",
            "/ month", "per month", "tokens per day limit", "hard limit",
        ),
        sharpens=(
            "tokens per day", "requests per day", "*perday*", "credits are depleted", "spending cap",
            "spend cap",
            "spending limit*", "spend limit*", "out of credits", "insufficient balance",
            "insufficient credits",
            "daily limit*", "daily quota", "monthly limit*",
        ),
        within=_K.RATE_LIMIT,
    ),
    # Disks have quotas, too.
    Rule(_K.RESOURCE_EXHAUSTED, _STORAGE, codes="enospc edquot efbig sqlite_full", says=("disk quota"
    " exceeded",),
         text=("no space left on device", "database or disk is full", "disk full", "disk is full",
               "not enough space on the disk", "not enough disk space")),
    Rule(
        _K.RATE_LIMIT,
        types="google.ResourceExhausted RampLimitExceededError",
        codes="resource_exhausted throttlingexception throttling throttledexception"
        " toomanyrequestsexception provisionedthroughputexceededexception requestlimitexceeded slowdown"
        " ramp_limit_exceeded ratelimitexceeded userratelimitexceeded throttling.ratequota"
        " throttling.allocationquota throttling.burstrate requestthrottled requestthrottledexception"
        " bandwidthlimitexceeded ec2throttledexception priorrequestnotcomplete",
    ),
    # Larger than the allowance of a whole minute: waiting does not help.
    Rule(_K.CONTEXT_OVERFLOW, says=("request too large", "request is too large")),
    Rule(
        _K.RATE_LIMIT,
        # Some also say what a payment method would change.
        says=("reduced rate limits of*", "increase your rate limit*", "increased rate limit*", "/ min",
              "/min", "*perminute*", "per minute", "tokens per min", "requests per min", "(rpm)", "(tpm)",
              "ratelimitexceeded", "userratelimitexceeded", "requests-per-minute", "tokens-per-minute",
              "*requests_per_minute*", "*tokens_per_minute*"),
    ),
    Rule(
        _K.QUOTA_EXHAUSTED,
        types="ModelQuotaExceededError ContractSpendLimitReachedError EnforcedSpendLimitReachedError"
        " LinkedOrganizationSpendLimitReachedError PaymentRequiredError",
        codes="insufficient_quota billing_hard_limit_reached billing_not_active billing_error"
        " quota_exceeded credit_balance_exhausted insufficient_credits insufficient_balance"
        " organization_spend_limit_exceeded project_spend_limit_exceeded"
        " organization_usage_limit_exceeded exceeded_current_quota_error budget_exceeded credits_exhausted"
        " enforced_spend_limit_reached"
        " contract_spend_limit_reached linked_organization_spend_limit_reached"
        " linked_organization_billing_unavailable user_profile_not_billable servicequotaexceededexception"
        " storage_quota_exceeded payment_required arrearage",
        says=(
            "insufficient_quota", "insufficient quota", "exceeded your current quota",
            "credit balance is too low", "all available credits", "out of credits", "run out of credits",
            "insufficient credits", "insufficient credit", "insufficient balance", "insufficient funds",
            "more credits",
            "billing hard limit", "billing limit*", "spending limit*", "spend limit*", "spend cap",
            "key limit exceeded", "usage limits", "out of call volume quota", "enable billing",
            "payment required", "monthly quota", "quota exhausted", "quota is exhausted",
            "not enough credits", "no credits", "any credits", "purchase credits",
            "extra usage is required", "credits exhausted", "included credits",
            "credit limit exceeded",
            "credits are depleted", "spending cap", "recharge your account", "*余额不足*", "*欠费*",
            "budget has been exceeded", "usage cap", "trial has expired", "trial expired", "billing details",
            "payment method", "overdue payment", "past due",
        ),
        complains=("quota is exceeded", "quota has been exceeded", "quota exceeded", "exceeded your quota"),
        statuses=(402,),
        kin="*QuotaExceeded *QuotaExceededError *QuotaError InsufficientQuotaError InsufficientQuota"
        " BillingError"
        " *CreditsError InsufficientFundsError InsufficientBalanceError PaymentRequired SpendLimitExceeded",
        text=("quota exceeded", "exceeded quota", "exceeded your quota", "quota has been exceeded",
              "account has run out of", "requests allowed this month",
              "no remaining quota", "trial has ended", "-hour limit reached", "free tier limit*",
              "hit your … usage limit", "your usage limit", "plan limit reached", "allotted monthly*"),
    ),
    Rule(
        _K.QUOTA_EXHAUSTED,
        codes="accountoverdueerror setlimitexceeded insufficient_balance_error not_enough_balance"
        " insufficient_user_quota pre_consume_token_quota_failed"
        " token_quota_reached customer_verification_required project_budget_exceeded"
        " allocationquota.freetieronly quota_limited quotaexceeded storagequotaexceeded",
        says=("usage limit exceeded", "usage limit reached", "reached the usage limit", "usage limit of your",
              "usage limit has been reached",
              "your usage limit", "payment instrument", "invalid_payment_instrument",
              # money, and allowances of a long time, as the smaller services put it
              "balance is insufficient", "balance is too low", "balance too low",
              "insufficient account balance", "not enough balance", "negative balance", "overdue balance",
              "outstanding balance", "no remaining balance", "top up your", "add funds to",
              "add credits to your",
              "out of funds", "sufficient credits", "please recharge", "valid credit card", "credits used up",
              "maximum budget exceeded", "monthly budget", "monthly … quota", "daily … quota",
              "weekly … quota", "monthly request limit", "monthly token limit", "monthly usage limit",
              "your weekly limit", "weekly quota", "out of quota", "quota used up",
              "quota has been used up", "quota is used up", "daily free allocation",
              "daily free quota", "daily free requests",
              "quota limit exceeded", "monthly … limit", "daily … limit", "balance is negative",
              "please top up",
              "free tier … exhausted", "free quota … exhausted", "free allowance … exhausted",
              "free trial … ended", "free trial … exhausted", "free credits … exhausted",
              "free credits … used", "free quota … used", "free allowance … used",
              "its credit limit", "your credit limit", "no tokens left", "no credits left",
              "purchase more", "plan quota exceeded", "usage quota exceeded", "subscription quota",
              "subscription has expired", "subscription expired", "limit of your plan",
              "exceeds your plan*", "exceeded your plan*", "inference limit",
              "*额度不足*", "*预扣费额度*", "*额度已用*"),
        sharpens=("exceeded your current quota", "insufficient_quota"),  # why a WebSocket was closed
        within=_K.NETWORK,
    ),
    # --- too much input ---------------------------------------------------------------------------
    Rule(
        _K.CONTEXT_OVERFLOW,
        complains=(
            "range of input length", "request entity too large", "request body too large",
            "context window exceeds*", "context window is only", "context the overflows",
            "maximum input length", "input length … exceed*", "number of input tokens … exceed*",
            "number of input tokens … cannot",
            "total tokens limit",
            "prompt length … exceed*", "prompt tokens exceed*", "tokens in the prompt … exceed*",
            "max context length", "exceeds the context length", "too long for … context*", "token capacity",
            "range of input length should be", "context size has been exceeded", "exceeds the context size",
            "context length is only", "conversation is too long", "context overflows", "payload too large",
            "longer than the specified maximum sequence length",
            "shorten your*", "shorten the*",
            "prompt exceeds", "prompt exceeded", "prompt is longer than*", "prompt length is greater*",
            "messages exceed", "messages exceeded",
            "max_seq_len", "max_model_len", "max_input_tokens", "max_input_length",
        ),
        # LiteLLM's proxy writes its class into the words, and 429 or 500 beside them.
        says=("contextwindowexceedederror",),
        sharpens=("received 1009 (message too big)",),
        within=_K.NETWORK,
    ),
    Rule(
        _K.CONTEXT_OVERFLOW,
        types="ContextWindowExceededError ContextOverflowError ModelContextWindowExceededError",
        kin="*ContextLengthExceeded* *ContextWindowExceeded* *ContextOverflow* *ContextLength*"
        " *PromptTooLong*",
        codes="context_length_exceeded context_window_exceeded string_above_max_length request_too_large"
        " tokens_limit_reached model_max_prompt_tokens_exceeded exceeded_max_tokens context_overflow",
        complains=(
            "maximum context length", "too long to fit", "fit … context*", "context length of only",
            "larger context*", "context window too small", "max tokens exceeded", "context length exceeded",
            "context_length_exceeded", "context limit",
            "maximum model length", "model token limit", "`inputs` tokens +", "must have less than … tokens",
            "payload size exceeds", "available context size", "exceed context window",
            "exceeds context window",
            "exceed the context window", "context size exceeded", "context window is full",
            "token limit exceeded",
            "token count exceeds", "exceeds … token limit", "exceeds maximum allowed tokens",
            "too long for the context*", "max context length", "longer than the model's context*",
            "exceeds the context*", "exceed the context*", "exceeds context*", "exceeded the context*",
            "context window exceeded", "context window is exceeded", "context overflow", "prompt is too long",
            "prompt too long", "input is too long", "input too long", "input tokens exceed*",
            "input token count", "number of tokens allowed", "too many tokens", "reduce the length of the*",
            "maximum prompt length", "too many input tokens", "token limit exceeded", "exceeds token limit",
            "exceeds the token limit", "exceeded the token limit", "larger than the maximum context*",
            "exceeds the model's context*", "exceeds the maximum number of tokens", "maximum context size",
        ),
        statuses=(413,),
    ),
    # --- refused because of what it says ----------------------------------------------------------
    Rule(
        _K.CONTENT_POLICY,
        codes="hooks_failed sensitivecontentdetected sensitive_content censorship_blocked",
        complains=("guardrail checks defined", "guardrail checks failed",
                   "contain sensitive*", "contains sensitive*", "unsafe … content", "unsafe content",
                   "sensitive content", "harmful content", "sensitive … content", "harmful … content",
                   "content … for safety reasons", "request … for safety reasons",
                   "prompt … for safety reasons", "refused for safety*", "blocked by moderation",
                   "*_sensitive", "considered high risk"),
        says=("litellm.contentpolicyviolationerror", "filtered due to the prompt"),
    ),
    Rule(
        _K.CONTENT_POLICY,
        types="ContentPolicyViolationError ContentFilterError ContentFilterFinishReasonError"
        " ModelRefusalError OpenAIRefusalError OpenAIModerationError RejectedRequestError"
        " GuardrailRaisedException BlockedPiiEntityError PIIDetectionError *TripwireTriggered",
        codes="content_filter content_policy_violation responsibleaipolicyviolation content_policy"
        " flagged_input cyber_policy_violation safety prohibited_content"
        " data_inspection_failed guardrail_intervened cyber_policy moderation_blocked content_blocked"
        " image_safety recitation blocklist",
        complains=(
            "content management policy", "content filter*", "content policy", "responsible ai*",
            "safety system", "usage policy", "usage policies", "input was flagged", "was flagged by",
            "has been flagged", "content violates", "violates our", "prohibited content",
            "prohibited_content",
            "content exists risk", "inappropriate content", "blocked by safety", "blocked for safety*",
            "blocked due to safety", "safety settings", "flagged by", "blocked by the guardrail*",
            "blocked by guardrail*", "guardrail policy", "blocked output", "blocked input",
            "content moderation",
            "usage guidelines", "safety filter*", "*敏感内容*", "*不安全或敏感*", "finish_reason: safety",
            "finishreason: safety", "finish reason: safety", "finish_reason=safety", "blocked by content*",
            "prompt was blocked", "response was blocked", "prompt blocked", "refused to answer for safety*",
        ),
    ),
    # --- who are you, and may you -----------------------------------------------------------------
    # A proxy, or who closed a WebSocket, asks for it under the class of a broken connection.
    Rule(
        _K.AUTH,
        types="botocore.ProfileNotFound",
        codes="requestexpired requesttimetooskewed"
        # OAuth
        " invalid_grant invalid_client unauthorized_client invalid_token invalid_scope",
        complains=("missing credentials", "missing authentication", "reported as leaked",
                   "unregistered callers", "didn't provide an api key", "did not provide an api key",
                   "missing bearer", "x-api-key header is required", "could not load credentials",
                   "token has been revoked", "token was revoked", "must be logged in",
                   "login failed for user", "wrongpass",
                   "invalid username or password", "invalid client secret",
                   "any valid credentials", "signature verification failed",
                   "could not read username"),
        says=("litellm.authenticationerror", "signaturedoesnotmatch", "api key … has been revoked",
              "api key … was revoked", "invalid api key", "incorrect api key", "api key not valid"),
        sharpens=("proxy authentication required", "role … does not exist", "invalid_api_key",
                  "invalid api key", "incorrect api key", "api key not valid"),
        within=_K.NETWORK,
    ),
    # Refusals of a place, an organization or a role that come as 400 or 401.
    Rule(
        _K.PERMISSION,
        codes="key_model_access_denied team_model_access_denied user_model_access_denied"
        " org_model_access_denied project_model_access_denied",
        complains=(
            "location is not supported for", "country, region, or territory", "unsupported countries*",
            "not available in your country", "not available in your region", "not supported in your region",
            "not available in your location", "organization has been disabled", "organization is disabled",
            "account has been disabled", "lacks the required",
            "unsupported region*", "not available in region", "organization must be verified",
            "is only authorized for", "is not allowed to use", "available for this subscription",
        ),
        says=("litellm.permissiondeniederror",),
        text=("read only replica", "access to model … restricted", "access to this model is restricted",
              "has disabled api access", "access is denied", "not allowed to sample",
              "unavailable in your country",
              "unavailable in your region", "unavailable in your location"),
        sharpens=("received 1008 (policy violation)",),
        within=_K.NETWORK,
    ),
    # A model that is not there, as 400.
    Rule(
        _K.NOT_FOUND,
        codes="previous_response_not_found conversation_not_found deprecatedmodel model_deprecated"
        " model_retired esrch",
        complains=(
            "not a valid model", "invalid model name", "invalid model id", "invalid model identifier",
            "model identifier is invalid", "model … has been retired", "model … has been shut down",
            "model … has been deprecated", "model … is deprecated", "model … has been removed",
            "model … no longer available", "model … no longer supported", "model … decommissioned",
            "model … not found", "model … does not exist", "model … not exist", "unknown model",
            "no such model", "cachedcontent not found", "deprecating state",
        ),
        says=("litellm.notfounderror",),
        kin="NoResultFound *DoesNotExist",
        sharpens=("database … does not exist",),
        within=_K.NETWORK,
    ),
    Rule(
        _K.AUTH,
        types="cohere.InvalidTokenError NoCredentialsError PartialCredentialsError"
        " CredentialRetrievalError NoAuthTokenError TokenRetrievalError UnauthorizedSSOTokenError"
        " SSOTokenLoadError LoginError google.DefaultCredentialsError google.RefreshError"
        " azure.ClientAuthenticationError CredentialUnavailableError anthropic.CredentialsError"
        " openai.SubjectTokenProviderError",
        codes="api_key_invalid invalid_api_key incorrect_api_key api_key_expired account_deactivated"
        " expiredtokenexception expiredtoken invalidsignatureexception unrecognizedclientexception"
        " invalidclienttokenid signaturedoesnotmatch missingauthenticationtokenexception token_expired"
        " incompletesignature incompletesignatureexception invalidaccesskeyid authfailure"
        " tokenrefreshrequired missingauthenticationtoken invalidtokenexception access_token_expired"
        # Slack
        " invalid_auth not_authed account_inactive token_revoked",
        complains=(
            "api key not valid", "invalid api key", "incorrect api key", "api key expired",
            "invalid x-api-key", "no api key", "api key is missing", "missing api key", "api key required",
            "locate credentials", "credentials not found", "key has expired", "token has expired",
            "token is expired",
            "bearer token is invalid", "invalid credentials", "could not authenticate",
            "could not be authenticated",
            "invalid api token", "invalid token", "invalid access token", "invalid auth*",
            "api token is invalid", "access token is invalid", "auth token is invalid",
            "jwt token is invalid",
            "subscription token is invalid", "subscription token … invalid",
            "not authenticated",
            "login required", "authentication fails", "authentication required", "credentials are invalid",
            "invalid subscription key", "security token … is invalid", "api key … invalid", "wrong api key",
            "please make sure your api key",
            "api key is invalid", "api_key client option must be set", "invalid authentication",
            "authentication failed", "failed to authenticate", "no auth credentials", "invalid bearer token",
            # What proves who one is runs out, or is not there.
            "security token … is expired", "security token … expired", "signature expired",
            "signature has expired", "credentials have expired", "credentials expired", "token expired",
            "account has been deactivated", "account is deactivated", "account has been suspended",
            "bad credentials", "jwt expired", "jwt is expired", "credentials were not found",
            "could not find credentials",
        ),
        statuses=(401, 407),
        broad="authentication_error unauthenticated unauthorized invalid_authentication",
        kin="AuthenticationError UnauthorizedError Unauthorized Unauthenticated ModelAuthenticationError"
        " jwt.InvalidTokenError"
        " *AuthenticationError",
        text=("unauthorized", "unauthenticated", "authentication error", "authentication_error",
              "permission denied (publickey"),
        # Databases refuse a login under the class of a broken connection.
        sharpens=("authentication failed", "invalid password", "wrong password", "no pg_hba.conf entry"),
        within=_K.NETWORK,
    ),
    # A 403 while a subscription is being set up; AWS says to try again.
    Rule(_K.OVERLOADED, codes="mpagreementbeingcreated"),
    Rule(
        _K.PERMISSION,
        types="builtins.PermissionError",
        codes="eacces eperm erofs sqlite_readonly"
        " unsupported_country_region_territory model_not_allowed organization_on_hold"
        " organization_restricted model_terms_required",
        statuses=(403, 451),
        broad="permission_error permission_denied forbidden access_denied accessdeniedexception accessdenied"
        " insufficient_scope",
        kin="PermissionDeniedError ForbiddenError ModelPermissionDeniedError PermissionDenied Forbidden"
        " AccessDeniedError"
        " AccessDenied",
        text=(
            "forbidden", "permission denied", "access denied", "permission_denied", "do not have permission",
            "does not have permission", "don't have permission", "does not have access to", "not authorized",
            "not permitted to", "must be a member of", "not supported in your country",
            "region … not supported",
            "territory not supported", "insufficient permissions", "operation not permitted",
            "read-only file system", "readonly database", "code = permissiondenied",
        ),
    ),
    Rule(
        _K.NOT_FOUND,
        types="builtins.FileNotFoundError",
        codes="enoent model_not_found model_not_available deploymentnotfound resourcenotfoundexception"
        " deployment_not_found thread_not_found unknown_model invalid_model model_decommissioned",
        statuses=(404, 410),
        broad="not_found not_found_error",
        kin="NotFoundError ModelNotFoundError ResourceNotFoundError NotFound",
        text=(
            "model not found", "does not exist or you do not have access", "model … does not exist",
            "model … not found", "deployment … does not exist", "deployment … not found",
            "is not found for api version",
            "no such file or directory", "no such model", "unknown model", "modelnotfounderror",
            "no endpoints found", "code = notfound", "relation … does not exist", "table … doesn't exist",
            "404 not found", "page not found", "repository … not found", "resource not found",
            "nosuchbucket", "nosuchkey", "specified key does not exist", "specified bucket does not exist",
            "requested resource could not be found", "cannot post /*", "cannot get /*",
            "could not find model", "could not find deployment",
        ),
    ),
    # --- no answer in time ------------------------------------------------------------------------
    Rule(_K.TIMEOUT, _STORAGE, _WAITED, codes="sqlite_busy sqlite_locked", types="redis.TimeoutError",
         says=("database is locked", "database table is locked"),
         text=(
             "database is locked", "could not obtain lock", "could not serialize access",
             "resource busy and acquire with nowait",
         )),
    Rule(
        _K.TIMEOUT,
        types="APITimeoutError ModelTimeoutError ModelRequestTimeout RunTimedOut NodeTimeoutError"
        " litellm.Timeout StreamChunkTimeoutError ServiceRequestTimeoutError ServiceResponseTimeoutError"
        " google.DeadlineExceeded google.RetryError RequestTimeoutError GatewayTimeoutError",
        # AWS says these under 400: the request did not arrive in time
        codes="modeltimeoutexception request_timeout request_body_timeout requesttimeout"
        " requesttimeoutexception function_invocation_timeout",
        statuses=(408, 504, 524),
        broad="timeout timeout_error deadline_exceeded gateway_timeout etimedout server_timeout",
        kin="*TimeoutError *Timeout *TimedOut *TimeoutException DeadlineExceeded DeadlineExceededError",
    ),
    Rule(
        _K.TIMEOUT,
        _NETWORK,
        types="TimeoutError socket.timeout ReadTimeout ConnectTimeout WriteTimeout PoolTimeout Timeout"
        " TimeoutException ReadTimeoutError ConnectTimeoutError ServerTimeoutError SocketTimeoutError"
        " ConnectionTimeoutError",
        codes="etimedout err_timed_out err_connection_timed_out und_err_connect_timeout"
        " und_err_headers_timeout und_err_body_timeout",
        text=(
            "timed out", "is timing out", "are timing out", "keeps timing out", "time out", "timeout",
            "timeouts", "timedout", "deadline exceeded", "*timeouterror", "timeoutexception",
            "httptimeoutexception", "connecttimeoutexception", "sockettimeoutexception",
            "no response from the model", "no response from the server", "no response from server",
            "no response from upstream", "stream stalled", "no tokens received", "no data received",
            "taking too long to respond",
            "operation exceeded time limit", "maxtimemsexpired",
            "readtimeoutexception", "esockettimedout",
            "readtimeout", "connecttimeout", "apitimeouterror", "gateway time-out", "etimedout",
            "did not respond in time",
            "no response within", "took too long", "deadline expired", "deadline_exceeded",
            "code = deadlineexceeded", "opentimeout",
        ),
        # what a transport that has tried often enough names as the last of its reasons
        sharpens=("caused by readtimeouterror", "caused by connecttimeouterror", "caused by timeouterror"),
        within=_K.NETWORK,
    ),
    # --- no connection ----------------------------------------------------------------------------
    # What a server said when it closed a WebSocket, a store when it closed a session, or a transport
    # when it had tried often enough.
    Rule(_K.INVALID_REQUEST, sharpens=("received 1003 (unsupported data)",
         "received 1007 (invalid frame payload data)",
         "too many redirects"), within=_K.NETWORK),
    Rule(_K.RATE_LIMIT, sharpens=("too many 429 error responses",), within=_K.NETWORK),
    Rule(_K.OVERLOADED, sharpens=("too many 503 error responses", "received 1013 (try again later)",
         "too many clients already", "too many connections", "loading the dataset in memory",
         "database system is starting up", "database system is shutting down",
         "max number of clients reached"),
         within=_K.NETWORK),
    Rule(_K.SERVER_ERROR, sharpens=("too many 500 error responses", "too many 502 error responses",
         "received 1011 (internal error)"), within=_K.NETWORK),
    Rule(_K.TIMEOUT, sharpens=("too many 504 error responses",), within=_K.NETWORK),
    # Databases that derive these from the error of a lost connection.
    Rule(_K.AUTH, types="redis.AuthenticationError redis.AuthorizationError"),
    Rule(_K.PERMISSION, types="redis.NoPermissionError redis.ReadOnlyError"),
    Rule(_K.OVERLOADED, _STORAGE, types="redis.MaxClientsError redis.BusyLoadingError redis.ClusterDownError"
         " redis.MasterDownError redis.TryAgainError"),
    Rule(_K.RESOURCE_EXHAUSTED, _STORAGE, types="psycopg.DiskFull psycopg2.DiskFull psycopg.OutOfMemory"
         " psycopg2.OutOfMemory psycopg.ConfigurationLimitExceeded psycopg2.ConfigurationLimitExceeded"),
    Rule(_K.OVERLOADED, _STORAGE, types="psycopg.TooManyConnections psycopg2.TooManyConnections"),
    Rule(_K.TIMEOUT, _STORAGE, _WAITED, types="psycopg.QueryCanceled psycopg2.QueryCanceled"
         " psycopg.LockNotAvailable psycopg2.LockNotAvailable"),
    Rule(_K.SERVER_ERROR, _STORAGE, types="DeadlockDetected SerializationFailure DeadlockDetectedError"
         " SerializationError", text=("deadlock found when trying to get lock",)),
    # A certificate stays wrong until somebody acts.
    Rule(
        _K.NETWORK,
        retryable=False,
        types="ssl.SSLCertVerificationError ssl.CertificateError ClientConnectorCertificateError",
        codes="err_cert_authority_invalid err_cert_date_invalid err_cert_common_name_invalid"
        " err_ssl_version_or_cipher_mismatch"
        # Node
        " unable_to_verify_leaf_signature depth_zero_self_signed_cert self_signed_cert_in_chain"
        " cert_has_expired err_tls_cert_altname_invalid unable_to_get_issuer_cert"
        " unable_to_get_issuer_cert_locally",
        says=("certificate_verify_failed", "certificate verify failed", "certificate has expired",
        "self-signed certificate",
              "self signed certificate", "unable to get local issuer certificate", "hostname mismatch",
              "certificate is not valid for", "certificate is not yet valid", "certificate is not trusted",
              "x509: certificate", "valid certification path", "wrong_version_number",
              "wrong version number", "tlsv1 alert protocol version",
              "unable to verify the first certificate",
              "certificate's altnames", "remote certificate is invalid", "pkix path building failed",
              # Go
              "tls: handshake failure", "tls: bad certificate", "tls: unknown certificate*",
              "tls: protocol version not supported"),
        sharpens=("certificate_verify_failed", "certificate verify failed", "certificate has expired",
                  "hostname mismatch", "self-signed certificate", "self signed certificate",
                  "x509: certificate", "valid certification path",
                  # TLS spoken to a port without it, or of a version that one side does not have.
                  "wrong_version_number", "wrong version number", "unsupported_protocol",
                  "tlsv1_alert_protocol_version", "no_shared_cipher", "alert handshake failure",
                  "alert unknown ca", "alert bad certificate", "alert certificate expired",
                  "alert certificate unknown", "alert certificate required", "alert unrecognized name",
                  "alert insufficient security", "alert no application protocol", "key too small",
                  "unsafe legacy renegotiation", "no protocols available"),
        within=_K.NETWORK,
    ),
    Rule(
        _K.NETWORK,
        _STORAGE,
        types="redis.ConnectionError psycopg.OperationalError psycopg2.OperationalError",
    ),
    # Wrong before anything was sent, although their base classes speak of transport.
    Rule(
        _K.INVALID_REQUEST,
        types="http.ImproperConnectionState UnsupportedProtocol LocalProtocolError InvalidURL"
        " MissingSchema InvalidSchema"
        " InvalidHeader InvalidProxyURL URLRequired InvalidUrlClientError NonHttpUrlClientError"
        " LocationParseError LocationValueError URLSchemeUnknown ProxySchemeUnknown UnknownProtocol"
        " TooManyRedirects TooManyRedirectsError WebSocketQueueFullError",
        sharpens=("unknown url type", "no host given"),
        within=_K.NETWORK,
    ),
    Rule(
        _K.NETWORK,
        types="NetworkError ConnectError ReadError WriteError CloseError RemoteProtocolError ProxyError"
        " httpcore.ProtocolError httpcore2.ProtocolError urllib3.ProtocolError botocore.HTTPClientError"
        " botocore.ConnectionError ConnectionClosedError EndpointConnectionError ResponseStreamingError"
        " socket.gaierror socket.herror ssl.SSLError SSLError ChunkedEncodingError ClientPayloadError"
        " aiohttp.HttpProcessingError ServerDisconnectedError aiohttp.ClientOSError"
        " http.IncompleteRead http.RemoteDisconnected http.BadStatusLine http.HTTPException"
        " builtins.ConnectionResetError builtins.ConnectionRefusedError builtins.ConnectionAbortedError"
        " builtins.BrokenPipeError asyncio.IncompleteReadError NameResolutionError NewConnectionError"
        " IncompleteReadError NoResponseError StreamDisconnectedError websockets.ConnectionClosed"
        " ConnectionClosed WebSocketConnectionClosedError StreamConnectionError google.TransportError"
        " MaxRetryError ClosedResourceError BrokenResourceError EndOfStream",
        codes="econnrefused econnreset econnaborted epipe enetunreach ehostunreach enetdown ehostdown"
        " eaddrnotavail enotconn enetreset eshutdown network_error connection_error cmek_key_unreachable"
        # browsers and Node's undici
        " err_name_not_resolved err_internet_disconnected err_connection_refused err_connection_reset"
        " err_connection_closed err_connection_aborted err_connection_failed err_network_changed"
        " err_address_unreachable err_empty_response err_socket_not_connected und_err_socket err_network"
        " err_quic_protocol_error err_proxy_connection_failed"
        " err_tunnel_connection_failed ns_error_connection_refused ns_error_net_reset"
        " ns_error_net_interrupt ns_error_unknown_host ssl_error_syscall",
        kin="DNSError *DNSLookupError ConnectionError APIConnectionError ModelConnectionError"
        " TransportError RequestError URLError"
        " RequestException ClientConnectionError ServiceRequestError ServiceResponseError"
        " aiohttp.ClientError urllib3.HTTPError *ConnectionError *NetworkError",
        text=(
            "connection refused", "connection reset*", "connection error*", "connection aborted",
            "connection closed", "connection failed", "connection lost", "connection dropped",
            "connection broken", "connection terminated", "connection was*", "connection has been*",
            "could not connect", "couldn't connect", "cannot connect", "can't connect", "failed to connect",
            "unable to connect", "failed to establish a new connection", "broken pipe", "server disconnected",
            "remote end closed", "peer closed connection", "network is unreachable", "network unreachable",
            "network error", "no route to host", "name or service not known", "name resolution",
            "nodename nor servname", "getaddrinfo failed", "dns lookup failed", "econnrefused", "econnreset",
            "*connectionerror", "connecterror", "connect error",
            "max retries exceeded with url", "incomplete chunked read", "ssl handshake*",
            "socket hang up", "connection attempts failed", "violation of protocol", "stream disconnected",
            "incompleteread", "incomplete read", "could not resolve host*", "couldn't resolve host*",
            "failed to resolve", "resolve hostname", "connection pool", "connect call failed",
            "connection timed*",
            "connection interrupted", "stream interrupted", "stream ended unexpectedly", "premature close",
            "unexpected eof", "proxy error", "tunnel connection failed", "remote disconnected",
            "remotedisconnected",
            "remoteprotocolerror", "apiconnectionerror", "network is down", "host is down", "enotfound",
            "eai_again",
            # Somebody did it to the connection, as servers, databases and Windows say it.
            "closed the connection", "reset the connection", "terminated the connection",
            "dropped the connection", "refused the connection", "actively refused", "forcibly closed",
            "did not properly respond", "connectionterminated", "goaway", "no such host",
            "lost connection to … server", "mysql server has gone away", "ssl syscall error",
            "terminated by rst_stream", "websocket closed", "unknownhostexception",
            "prematurely closed connection", "connection prematurely closed", "socket disconnected before",
            "closed idle connection",
            "use of closed network connection", "empty reply from server", "was not closed cleanly",
            "unable to resolve host*", "unexpected end of stream", "communications link failure",
            '": eof', "closedchannelexception", "incompletemessage", "invalidchunklength",
            "mongonetworkerror", "no listener",
            # Node and browsers; what they fail to fetch may also be a row
            "epipe", "econnaborted", "ehostunreach", "enetunreach", "ehostdown", "enetdown",
            "typeerror: fetch failed", "typeerror: failed to fetch", "typeerror: load failed",
            "typeerror: terminated", "err_http2_protocol_error",
            "networkerror when attempting to fetch resource",
            # names of classes
            "readerror", "writeerror", "clientpayloaderror", "clientconnectorerror", "chunkedencodingerror",
            "serverdisconnectederror", "maxretryerror", "gaierror",
        ),
    ),
    # A store that is not up yet, or no longer, and says so.
    Rule(
        _K.OVERLOADED,
        _STORAGE,
        text=("database system is starting up", "database system is shutting down",
              "database system is in recovery mode", "loading the dataset in memory",
              "too many clients already", "too many connections"),
    ),
    # Operators and methods are overloaded, too.
    Rule(
        _K.INVALID_REQUEST,
        says=("overloaded for", "operator … is overloaded", "method is overloaded", "function is overloaded",
              "overloaded method", "overloaded function", "overloaded operator"),
    ),
    # What a test is called, or what an assertion quotes, is no news of a server.
    Rule(_K.UNKNOWN, says=("test case … overloaded", "assertion … expected")),
    # --- no capacity ------------------------------------------------------------------------------
    Rule(_K.OVERLOADED, codes="nocapacity deployment_scaling_up service_tier_capacity_exceeded queue_exceeded"
         " serveroverloaded",
         says=("experiencing high demand", "experiencing high traffic", "server overload",
               "capacity temporarily exceeded")),
    Rule(
        _K.OVERLOADED,
        types="OverloadedError ModelOverloadedError ModelUnavailableError CapacityNotAvailableError"
        " ConcurrencyLimitExceeded",
        codes="overloaded_error overloaded server_is_overloaded engine_overloaded model_overloaded"
        " modelnotreadyexception serviceunavailableexception capacity_exceeded capacity_unavailable"
        " no_capacity engine_overloaded_error",
        says=("overloaded", "over capacity", "at capacity"),
        statuses=(498, 503, 529),
        broad="unavailable service_unavailable service_unavailable_error compaction_unavailable",
        kin="ServiceUnavailableError ServiceUnavailable *OverloadedError *Overloaded *UnavailableError",
        text=(
            "service unavailable", "service is unavailable", "temporarily unavailable", "code = unavailable",
            "currently unavailable",
            "server is busy", "server busy", "currently loading", "high demand", "too busy", "is too busy",
            "high traffic",
            "high load", "heavy load", "down for maintenance", "due to maintenance", "server unavailable",
            "server is unavailable", "try again shortly", "no capacity", "model is busy",
            "no healthy upstream", "service temporarily*", "service is under maintenance",
            "server is not ready", "not ready yet", "scaling from zero",
            "no available server", "no server is available", "backend fetch failed", "maximum queue size",
            "request queue is full", "workers are busy", "no gpu capacity", "no instances available",
        ),
    ),
    Rule(
        _K.RATE_LIMIT,
        statuses=(429,),
        # GitHub and Google say it under 403, a registry to those it does not know.
        says=("rate limit exceeded", "exceeded a secondary rate limit", "pull rate limit"),
        broad="rate_limit_error rate_limit_exceeded rate_limit rate_limited rate_limit_reached_error"
        " ratelimited local_rate_limited es_rejected_execution_exception too_many_requests"
        " toomanyrequests requests tokens",
        kin="RateLimitError ModelRateLimitError TooManyRequestsError TooManyRequests *RateLimitError"
        " *RateLimited *RateLimitExceeded *RateLimitException *TooManyRequestsError *ThrottlingException"
        " *ThrottlingError",
        text=(
            "too many requests", "rate limit*", "rate-limit*", "ratelimit*", "rate_limit*", "throttl*",
            "ratelimiterror", "request limit reached", "requests limit exceeded",
            "resource exhausted", "resource has been exhausted", "concurrency limit*", "max concurrency",
            "code = resourceexhausted",
            "concurrent requests", "requests per second", "slow down", "too many concurrent*", "*速率限制*",
            "slowdown:", "reduce your request rate", "requestlimitexceeded", "request rate is too high",
            "excessive requests", "rate of requests", "requests too frequently",
            "request rate is large", "rpm reached", "rpm limit", "tpm limit", "requests too quickly",
            "messages too quickly",
        ),
    ),
    # --- the service failed -----------------------------------------------------------------------
    Rule(_K.SERVER_ERROR, _PROVIDER, _CORRUPTION, types="requests.JSONDecodeError requests.InvalidJSONError"),
    Rule(
        _K.SERVER_ERROR,
        None,
        _PROVIDER_FAILURE,
        statuses=(502, 520, 521, 522, 523, 525, 526, 527, 530),
        broad="bad_gateway",
        text=("bad gateway", "web server is down", "web server is returning an unknown error"),
    ),
    Rule(
        _K.SERVER_ERROR,
        types="APIResponseValidationError ResponseValidationError UnknownApiResponseError"
        " ContentTypeError DecodingError ContentDecodingError azure.DecodeError",
        codes="modelerrorexception modelstreamerrorexception internalserverexception internalfailure",
        # 409, 423, 425: another request holds the lock; the SDKs themselves try again.
        statuses=(409, 423, 424, 425, 500, 507, 508, 510),
        broad="server_error internal_server_error internal_error api_error internal backend_error unknown"
        " data_loss provider_error upstream_error conflict_error aborted server_had_an_error"
        " internalservererror",
        kin="ModelServerError InternalServerError ServerError BadGateway BadGatewayError openai.APIError"
        " anthropic.APIError groq.APIError"
        " litellm.APIError google.APIError cohere.ApiError mistralai.MistralError ModelHTTPError"
        " ModelAPIError RetryableError",
        text=(
            "internal server error", "internal error", "server error", "server had an error",
            "internalservererror",
            "model produced invalid content",
            "unknown error occurred on the server", "internal_server_error", "backend error",
            "upstream error", "encountered an unexpected condition",
            "something went wrong on our end", "unexpected error on the server",
            "error occurred on the server", "invalid response from upstream",
            "invalid response from an upstream", "something went wrong. if this issue persists",
        ),
    ),
    # What a server does not do at all it will not do later.
    Rule(_K.SERVER_ERROR, retryable=False, statuses=(501, 505)),
    Rule(_K.SERVER_ERROR, kin="*EngineDeadError"),
    # --- the answer is not what was agreed --------------------------------------------------------
    Rule(
        _K.OUTPUT_VALIDATION,
        None,
        _CORRUPTION,
        types="JSONDecodeError json.JSONDecodeError",
        inside_sdk=_K.SERVER_ERROR,
    ),
    Rule(_K.INVALID_REQUEST, _CALLER, types="botocore.ValidationError botocore.ParamValidationError"
         " huggingface_hub.ValidationError"),
    Rule(_K.OUTPUT_VALIDATION, types="yaml.YAMLError tomllib.TOMLDecodeError xml.ParseError xml.ExpatError"),
    Rule(
        _K.OUTPUT_VALIDATION,
        types="ValidationError pydantic.ValidationError pydantic_core.ValidationError"
        " OutputParserException StructuredOutputError StructuredOutputValidationError"
        " LengthFinishReasonError UnexpectedModelBehavior ModelBehaviorError IncompleteToolCall"
        " OutputTokenLimitExceeded JSONSchemaValidationError ModelRetry IncompleteOutputException"
        " InstructorRetryException MultipleStructuredOutputsError",
        text=(
            "could not parse llm output", "could not parse … output", "failed to parse … output",
            "output validation*",
            "invalid json output", "returned invalid json", "not valid json", "did not match the schema",
            "does not match the schema", "failed to parse … json", "output parsing failed",
            "unparseable output",
            "invalid structured output", "malformed tool call", "malformed function call",
            "failed to parse … from completion", "output_parsing_failure", "unexpected token … in json",
            "unterminated string in json",
            "schema validation failed",
            "model returned invalid", "response validation failed", "could not parse … json",
            "expecting value: line", "expecting property name enclosed in double quotes",
            "unterminated string starting at", "extra data: line", "validation error for",
            "validation errors for",
        ),
    ),
    # --- limits of this run and this machine ------------------------------------------------------
    Rule(
        _K.RESOURCE_EXHAUSTED,
        types="BudgetExceededError UsageLimitExceeded MaxTurnsExceeded GraphRecursionError"
        " builtins.MemoryError BrokenProcessPool BrokenThreadPool BrokenExecutor asyncio.QueueFull"
        " queue.Full OutOfMemoryError",
        codes="emfile enfile enomem enobufs eagain eaddrinuse ebusy sqlite_nomem",
        says=("requires more system memory", "cuda out of memory"),
        kin="*TurnsExceeded *TurnsExceededError *IterationsExceeded *IterationsExceededError"
        " *IterationLimitError"
        " *StepsExceeded *StepsExceededError",
        text=(
            "too many open files", "out of memory", "cannot allocate memory", "maximum recursion depth",
            "recursion limit", "start new thread", "iterations reached", "iteration limit",
            "iterations exceeded",
            "max turns", "maximum turns", "maximum number of turns", "maximum iterations", "max iterations",
            "max steps", "step limit reached", "memory limit exceeded", "address already in use",
            "java heap space", "memoryerror", "outofmemoryerror", "oomkilled", "enomem", "not enough memory",
            "signal: killed",
            "command not allowed when used memory",
        ),
    ),
    Rule(_K.RESOURCE_EXHAUSTED, _CALLER, types="builtins.RecursionError"),
    # --- words alone: of gRPC, PostgreSQL and frameworks ------------------------------------------
    Rule(_K.CANCELLED, text=("code = canceled", "code = cancelled", "context canceled", "context cancelled",
                             "user aborted a request", "request was aborted", "aborterror",
                             "interrupted by user", "interrupted by the user", "cancellationexception",
                             "cancelled on client", "call cancelled", "keyboardinterrupt")),
    Rule(_K.SERVER_ERROR, text=("code = internal desc", "received rst_stream with code 2")),
    Rule(_K.SERVER_ERROR, _STORAGE, text=("deadlock detected",)),
    Rule(_K.OUTPUT_VALIDATION, text=("malformed tool … arguments", "malformed function … arguments")),
    Rule(_K.TOOL_ERROR, text=("tool … not found in", "tool … is not registered", "no such tool",
                              "failed with exit code", "process exited with code")),
    Rule(_K.AUTH, text=("did not find … *_api_key",)),
    # --- stored data ------------------------------------------------------------------------------
    Rule(
        _K.STORAGE_CORRUPTION,
        codes="sqlite_corrupt sqlite_notadb sqlite_ioerr sqlite_format eio ebadmsg estale",
        types="*CorruptionError *CorruptedError pickle.UnpicklingError zlib.error gzip.BadGzipFile"
        " zipfile.BadZipFile"
        " tarfile.ReadError lzma.LZMAError",
        text=(
            "database disk image is malformed", "file is not a database", "checksum mismatch",
            "memory corruption",
            "database is corrupt*", "data corruption", "corrupt database", "file is corrupt*",
            "disk i/o error",
            "data is corrupt*", "index is corrupt*", "corrupted file", "corrupted database", "crc mismatch",
            "state is corrupt*", "checkpoint is corrupt*", "ran out of input", "malformed database schema",
            "invalid page in block", "corrupted index",
        ),
    ),
    Rule(_K.INVALID_REQUEST, _CALLER, codes="sqlite_error sqlite_misuse sqlite_constraint sqlite_mismatch"
         " sqlite_cantopen sqlite_range", last="sqlite3.Error"),
    # --- the call itself is wrong -----------------------------------------------------------------
    # Libraries used in a way that cannot work, and data that a database does not take.
    Rule(
        _K.INVALID_REQUEST,
        _CALLER,
        kin="InvalidUpdateError EmptyInputError StreamConsumed StreamClosed StreamConsumedError"
        " StreamClosedError ResponseNotRead RequestNotRead ResponseNotReadError InvalidStateError"
        " pydantic.PydanticErrorMixin sqlalchemy.ArgumentError sqlalchemy.CompileError"
        " sqlalchemy.UnboundExecutionError click.UsageError configparser.Error argparse.ArgumentError",
        last="IntegrityError ProgrammingError DataError redis.ResponseError",
        complains=("litellm.badrequesterror", "litellm.unsupportedparamserror"),
        # What is there already is there the next time, too.
        types="shutil.SameFileError jsonschema.SchemaError pydantic_ai.UserError azure.ResourceExistsError",
        codes="exdev eloop enoexec echild already_exists alreadyexists resourceexists"
        " resourcealreadyexists resourcealreadyexistsexception entityalreadyexists"
        " conditionalcheckfailedexception",
        says=("with … already exists", "name already exists", "resource already exists",
              "object already exists"),
        text=(
            "event loop is closed", "a running event loop", "no running event loop",
            "event loop is already running",
            "no current event loop", "attached to a different loop", "client has been closed",
            "changed size during iteration", "unique constraint failed", "foreign key constraint failed",
            "not null constraint failed", "check constraint failed",
        ),
    ),
    Rule(
        _K.INVALID_REQUEST,
        statuses=(400, 405, 406, 411, 412, 414, 415, 416, 417, 421, 422, 426, 428, 431),
        codes="einval eisdir enotdir eexist enotempty enametoolong ebadf",
        broad="invalid_request_error invalid_request bad_request invalid_argument failed_precondition"
        " validationexception validation_error invalid_prompt unsupported_parameter unknown_parameter"
        " out_of_range unimplemented unprocessable_entity badrequest invalid_value"
        " missing_required_parameter",
        kin="BadRequestError BadRequest InvalidArgument InvalidArgumentError UnprocessableEntityError"
        " UnprocessableEntity ModelRequestRejectedError InvalidRequestError"
        " UserError openai.OpenAIError anthropic.AnthropicError groq.GroqError botocore.BotoCoreError"
        " RequestRejectedError OptionalImportError",
        # Only wrong code raises these; a class derived from one may be a report with a text of its own.
        bugs="TypeError KeyError IndexError AttributeError NameError UnboundLocalError AssertionError"
        " ImportError ModuleNotFoundError SyntaxError IndentationError TabError ZeroDivisionError"
        " OverflowError FloatingPointError ArithmeticError LookupError NotImplementedError StopIteration"
        " StopAsyncIteration BufferError ReferenceError UnicodeError UnicodeDecodeError"
        " UnicodeEncodeError UnicodeTranslateError Warning FileExistsError IsADirectoryError"
        " NotADirectoryError",
        text=(
            "bad request", "invalid argument", "unsupported parameter", "unsupported value",
            "invalid parameter",
            "unprocessable entity", "method not allowed", "unsupported media type", "invalid request",
            "malformed request",
            "malformed input", "code = invalidargument", "code = failedprecondition", "code = unimplemented",
            "violates unique constraint", "violates foreign key constraint", "violates not-null constraint",
            "violates check constraint", "invalid value for", "roles must alternate",
            "must be followed by tool messages",
            # what providers say of messages, parameters, tools and images
            "`tool_use` ids were found", "`tool_use_id` found in", "invalid schema for function",
            "invalid type for",
            "maximum allowed number of output tokens", "missing required parameter*",
            "unrecognized request argument*", "unknown parameter", "invalid value:",
            "does not match pattern", "extra inputs are not permitted", "field required",
            "additional properties are not allowed",
            "at least one message is required", "must be non-empty", "must have non-empty content",
            "function call turn comes immediately", "does not support tools", "does not support image*",
            "is not supported for this model", "is not supported by this model", "could not process image",
            "image exceeds … maximum", "cannot unmarshal", "syntax error at or near",
        ),
        last="builtins.ValueError struct.error re.error re.PatternError",
    ),
)  # fmt: skip
