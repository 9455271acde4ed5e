-- Health of a TrainingRun: whether it made the model version that it was to make. Asked in kstatus' order: deletion,
-- generation, Reconciling, Stalled, Succeeded.
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
if conditions.Succeeded == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "Waiting for the operator to look at this generation" }
end
if says("Reconciling", "True") then
  return health("Progressing", "Succeeded")
end
if says("Stalled", "True") and conditions.Stalled.reason == "Suspended" then
  return health("Suspended", "Stalled")
end
return health(says("Succeeded", "True") and "Healthy" or "Degraded", "Succeeded")
