"""Argo CD's Lua sandbox: what `util/lua/lua.go` leaves of the language when a script comes from `argocd-cm`.

Open there are the base, `package` and `table` libraries and `os.time` and `os.date`; `string`, `math`, `io`, `debug`
and `coroutine` are not. A script has a second. Its object is the global `obj`; what it returns is written as JSON.
"""

from typing import Any

from lupa import luajit21

LuaError = luajit21.LuaError

ALLOWED = {
    *("_G", "_VERSION", "assert", "collectgarbage", "error", "getmetatable", "ipairs", "next", "pairs", "pcall"),
    *("rawequal", "rawget", "rawset", "select", "setmetatable", "table", "tonumber", "tostring", "type", "unpack"),
    *("xpcall", "os"),
}
"""Without `load`, `require` and their kin, which are open in Argo CD: our scripts are one file each."""
INSTRUCTIONS = 1_000_000
"""Far more than a script of ours needs, far less than a second."""

_RUN = """
function(script, names, limit)
  local allowed = {}
  for name in python.iter(names) do allowed[name] = true end
  local run, why = loadstring(script)
  if run == nil then error(why) end
  jit.off()
  debug.sethook(function() error("the script takes too long") end, "", limit)
  os = { time = os.time, date = os.date }
  getmetatable("").__index = nil
  for name in pairs(_G) do if not allowed[name] and name ~= "obj" then _G[name] = nil end end
  return run()
end
"""


def _to_lua(lua: Any, value: Any) -> Any:
    """Return a value as `decodeValue` makes it: numbers are numbers, null is nothing."""
    match value:
        case dict():
            return lua.table_from({key: _to_lua(lua, item) for key, item in value.items() if item is not None})
        case list():
            return lua.table_from([_to_lua(lua, item) for item in value])
        case _:
            return value


def _from_lua(value: Any) -> Any:
    """Return what the JSON of a result says; an empty table is an empty list, as gopher-json has it."""
    if luajit21.lua_type(value) != "table":
        return value
    keys = list(value.keys())
    if keys == list(range(1, len(keys) + 1)):
        return [_from_lua(value[key]) for key in keys]
    assert all(isinstance(key, str) for key in keys), f"a table that is neither list nor map: {keys}"
    return {key: _from_lua(value[key]) for key in keys}


def execute(script: str, seen: dict[str, Any]) -> Any:
    """Run a script on an object, and return what it returns."""
    lua = luajit21.LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False)
    lua.globals().obj = _to_lua(lua, seen)
    return _from_lua(lua.eval(_RUN)(script, sorted(ALLOWED), INSTRUCTIONS))
