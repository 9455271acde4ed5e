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
if says("Ready", "False") then
  return health("Degraded", says("Fetched", "False") and "Fetched" or "Ready")
end
if says("Fetched", "False") then
  -- The recorded version may be used; that there may be a newer one is worth a word.
  return { status = "Healthy", message = conditions.Ready.message .. " " .. conditions.Fetched.message }
end
return health("Healthy", "Ready")
