-- What may be done by hand: suspend what goes on, resume what is suspended. A run that has ended does neither.
local suspended = obj.spec.suspend == true
local ended = obj.status ~= nil and obj.status.terminalState ~= nil
local actions = {}
actions["suspend"] = { ["disabled"] = suspended or ended }
actions["resume"] = { ["disabled"] = not suspended or ended }
return actions
