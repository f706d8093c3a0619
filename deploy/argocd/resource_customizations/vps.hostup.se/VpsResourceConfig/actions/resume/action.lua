if obj.spec.approval ~= nil then
  error("the object is approved, and resuming could pay: set spec.suspend to false in Git, or with the verb approve")
end
obj.spec.suspend = false
return obj
