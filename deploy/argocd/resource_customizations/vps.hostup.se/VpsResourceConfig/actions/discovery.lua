-- There is no action that orders anything: an object is ordered for once, by its approval.
local suspended = obj.spec ~= nil and obj.spec.suspend == true
return {
  reconcile = { iconClass = "fa fa-fw fa-refresh" },
  suspend = { disabled = suspended, iconClass = "fa fa-fw fa-pause-circle" },
  resume = { disabled = not suspended, iconClass = "fa fa-fw fa-play-circle" },
}
