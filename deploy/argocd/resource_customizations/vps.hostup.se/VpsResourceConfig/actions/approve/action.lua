-- Approves the quote that the status shows now, and no other quote.
if obj.status == nil or obj.status.quote == nil or obj.status.quote.id == nil then
  error("there is no quote to approve")
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  error("the quote is for an earlier spec: wait until the operator has reconciled this one")
end
if obj.spec.approval == nil then
  obj.spec.approval = {}
end
obj.spec.approval.quoteId = obj.status.quote.id
obj.spec.approval.approvedBy = nil
return obj
