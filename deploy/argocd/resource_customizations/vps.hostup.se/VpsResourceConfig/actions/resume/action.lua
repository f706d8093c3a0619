if obj.spec.approval ~= nil then
  error("the object has an approval, so resuming it could pay: set spec.suspend to false in Git, or with the verb approve")
end
obj.spec.suspend = false
return obj
