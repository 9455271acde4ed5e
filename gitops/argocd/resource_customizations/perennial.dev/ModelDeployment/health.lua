-- Health of a ModelDeployment: whether the version that is wanted answers and keeps its promises. Asked in kstatus' order:
-- deletion, generation, Reconciling, Stalled, Ready; a version that answers and breaks a promise is Degraded.
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
  -- A trial says at which step it is and what is known so far.
  return health("Progressing", says("Progressing", "True") and "Progressing" or "Reconciling")
end
if says("Stalled", "True") and conditions.Stalled.reason == "Suspended" then
  -- A trial that is held says at which weight.
  return health("Suspended", conditions.Progressing.reason == "Suspended" and "Progressing" or "Stalled")
end
if says("Stalled", "True") then
  return health("Degraded", "Stalled")
end
if says("Ready", "False") then
  return health("Degraded", "Ready")
end
if says("SLOsMet", "False") then
  return health("Degraded", "SLOsMet")
end
return health("Healthy", "Ready")
