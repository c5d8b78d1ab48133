--- The commands of clsess; what they do is in lua/clsess.lua.
---
---   :Clsess PROMPT            to the session of the project; what comes is in clsess://NAME
---   :'<,'>Clsess PROMPT       the lines of the range behind it; without PROMPT they alone
---   :ClsessTo NAME PROMPT     to another session
---   :ClsessStop [NAME]        take back what this editor waits for
---   :ClsessQuestions [NAME]   what the agent asks, then :ClsessApprove [ID] or :ClsessDeny [ID]

local command = vim.api.nvim_create_user_command

local function clsess()
  return require('clsess')
end

local function send(session, prompt, options)
  local lines
  if options.range > 0 then
    lines = vim.fn.getline(options.line1, options.line2)
  end
  clsess().send(session, prompt, lines, options.mods)
end

local function sessions(typed)
  return vim.tbl_filter(function(name)
    return vim.startswith(name, typed)
  end, clsess().sessions())
end

command('Clsess', function(options)
  send(clsess().session(), options.args, options)
end, { nargs = '*', range = true })

command('ClsessTo', function(options)
  local session, prompt = options.args:match('^(%S+)%s?(.*)$')
  send(session, prompt, options)
end, { nargs = '+', range = true, complete = sessions })

command('ClsessStop', function(options)
  clsess().stop(options.args ~= '' and options.args or clsess().session())
end, { nargs = '?', complete = sessions })

command('ClsessQuestions', function(options)
  clsess().question('questions', options.args ~= '' and options.args or clsess().session())
end, { nargs = '?', complete = sessions })

for name, verb in pairs({ ClsessApprove = 'approve', ClsessDeny = 'deny' }) do
  command(name, function(options)
    clsess().question(verb, clsess().session(), options.args ~= '' and options.args or nil)
  end, { nargs = '?' })
end
