-- Only the action approve may spend money or overwrite a VPS, and Argo CD's account needs the verb approve for it, or the verb
-- overwrite. To resume an object with an approval could do the same, so the action resume is available only without an
-- approval.
local suspended = obj.spec ~= nil and obj.spec.suspend == true
local approval = obj.spec ~= nil and obj.spec.approval or nil
local quote = obj.status ~= nil and obj.status.quote ~= nil and obj.status.quote.id or nil
local asks = false
if obj.status ~= nil and obj.status.observedGeneration == obj.metadata.generation then
  for _, condition in ipairs(obj.status.conditions or {}) do
    if condition.type == "Approved" and condition.status == "False" then
      asks = true
    end
  end
end
return {
  approve = { disabled = suspended or quote == nil or not asks, iconClass = "fa fa-fw fa-check-circle" },
  reconcile = { iconClass = "fa fa-fw fa-refresh" },
  suspend = { disabled = suspended, iconClass = "fa fa-fw fa-pause-circle" },
  resume = { disabled = not suspended or approval ~= nil, iconClass = "fa fa-fw fa-play-circle" },
}
