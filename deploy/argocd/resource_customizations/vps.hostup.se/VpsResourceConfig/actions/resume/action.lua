if obj.spec.approval ~= nil then
  error("an approval stands, and going on could pay: set spec.suspend to false in Git, or with the verb approve")
end
obj.spec.suspend = false
return obj
