-- There is no action that orders anything: to go on under an approval could, so resume is offered without one only.
local suspended = obj.spec ~= nil and obj.spec.suspend == true
local approved = obj.spec ~= nil and obj.spec.approval ~= nil
return {
  reconcile = { iconClass = "fa fa-fw fa-refresh" },
  suspend = { disabled = suspended, iconClass = "fa fa-fw fa-pause-circle" },
  resume = { disabled = not suspended or approved, iconClass = "fa fa-fw fa-play-circle" },
}
