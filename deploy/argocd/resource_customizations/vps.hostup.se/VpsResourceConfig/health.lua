-- The CRDs of vps.hostup.se follow kstatus: https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus
-- An object that waits for a user's decision is Suspended, so that a sync does not fail because of it.
local waits_for_a_person = {
  AwaitingApproval = true,
  QuoteExceedsCeiling = true,
  ApprovalExpired = true,
  Drifted = true,
  Suspended = true,
  Held = true,
  ReadOnly = true,
  BudgetExceeded = true,
}

local health = { status = "Progressing", message = "Waiting for the operator to reconcile it" }
if obj.status == nil or obj.status.conditions == nil then
  return health
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  return health
end

local found = {}
for _, condition in ipairs(obj.status.conditions) do
  found[condition.type] = condition
end
local ready = found.Ready
if ready == nil then
  return health
end
health.message = ready.reason
if ready.message ~= nil and ready.message ~= "" then
  health.message = ready.reason .. ": " .. ready.message
end
if found.Stalled ~= nil and found.Stalled.status == "True" then
  health.status = "Degraded"
elseif found.Reconciling ~= nil and found.Reconciling.status == "True" then
  health.status = "Progressing"
elseif ready.status == "True" then
  health.status = "Healthy"
elseif waits_for_a_person[ready.reason] then
  health.status = "Suspended"
end
return health
