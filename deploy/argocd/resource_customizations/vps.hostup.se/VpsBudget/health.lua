-- A budget is Healthy while it is in force, also when its limits are reached.
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
health.status = "Degraded"
health.message = ready.reason
if ready.message ~= nil and ready.message ~= "" then
  health.message = ready.reason .. ": " .. ready.message
end
if ready.status == "True" then
  health.status = "Healthy"
end
return health
