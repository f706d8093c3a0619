-- The record of one paid call. A record is Healthy if its call was not sent, not executed or abandoned.
local words = {
  Accepted = "Progressing",
  Succeeded = "Healthy",
  NotSent = "Healthy",
  NotExecuted = "Healthy",
  Abandoned = "Healthy",
  Rejected = "Degraded",
  Failed = "Degraded",
}

local state = "Sending"
local message = nil
if obj.status ~= nil then
  if obj.status.state ~= nil then
    state = obj.status.state
  end
  message = obj.status.message
end
local health = { status = words[state] or "Progressing", message = state }
-- The search for the outcome has ended, and a user must decide.
if state == "Unknown" and obj.status.evidence ~= nil then
  health.status = "Degraded"
end
if message ~= nil and message ~= "" then
  health.message = state .. ": " .. message
end
return health
