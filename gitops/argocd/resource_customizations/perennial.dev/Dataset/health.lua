-- Health of a Dataset: whether its data may be learned from. Asked in kstatus' order: deletion, generation,
-- Reconciling, Stalled, Ready.
local conditions = {}
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    conditions[condition.type] = condition
  end
end

local function says(type, status)
  return conditions[type] ~= nil and conditions[type].status == status
end

local function health(status, type)
  return { status = status, message = conditions[type].message }
end

if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = "Pending deletion" }
end
if conditions.Ready == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "Waiting for the operator to look at this generation" }
end
if says("Reconciling", "True") then
  return health("Progressing", "Reconciling")
end
if says("Stalled", "True") then
  return health(conditions.Stalled.reason == "Suspended" and "Suspended" or "Degraded", "Stalled")
end
return health(says("Ready", "True") and "Healthy" or "Degraded", "Ready")
