--- Prompts to the sessions of clsess(1), from Neovim 0.7 or later. The commands are in
--- plugin/clsess.lua.
---
---   vim.g.clsess_session      the session; without it the project's directory names it
---   vim.g.clsess_program      'clsess'
---   vim.g.clsess_on_question  'wait' for :ClsessApprove and :ClsessDeny, 'deny' or 'fail'
---
---   vim.o.statusline = "%f %= %{v:lua.require'clsess'.state()}"

local M = {}
local api = vim.api

-- Lines that a session's buffer keeps when the next prompt is sent. `clsess log` has the others.
local LINES = 20000
-- What is kept to say why a command has failed, and of a line of `clsess events`: bytes.
local SAID = 4096
local LONGEST = 65536

-- The agent of a session that is made from here has this environment: no way into this editor.
local ENVIRONMENT = { NVIM = '', NVIM_LISTEN_ADDRESS = '', MYVIMRC = '', VIM = '', VIMRUNTIME = '' }

local marks = api.nvim_create_namespace('clsess')
local buffers = {} -- of each session
local running = {} -- the session of each job
local states = {} -- of each session, as `clsess events` has told
local watching

--- Shows as much as fits into the last line, and not as an error of Neovim's own: that wants a key
--- pressed, and until then no answer would go on.
local function fail(text)
  text = vim.trim(text):gsub('%s*\n%s*', '; ')
  api.nvim_echo({ { vim.fn.strcharpart(text, 0, vim.v.echospace), 'ErrorMsg' } }, true, {})
end

--- The directory of the project: that of the nearest `.git`, or the current one.
local function project()
  local dir = vim.fn.getcwd()
  while not vim.loop.fs_stat(dir .. '/.git') do
    local above = vim.fn.fnamemodify(dir, ':h')
    if above == dir then
      return vim.fn.getcwd()
    end
    dir = above
  end
  return dir
end

--- The session that prompts of the current buffer go to. Without a name of its own it has that which
--- `clsess new` would give it in the project.
function M.session()
  local named = vim.b.clsess_session or vim.g.clsess_session
  if named and named ~= '' then
    return named
  end
  local name = vim.fn.fnamemodify(project(), ':t'):gsub('[^%w._-]', '-'):gsub('^%W+', ''):sub(1, 56)
  return name ~= '' and name or 'session'
end

--- Starts clsess without waiting for it.
local function start(arguments, options)
  local command = vim.list_extend({ vim.g.clsess_program or 'clsess' }, arguments)
  options.cwd = project()
  options.env = ENVIRONMENT
  local started, job = pcall(vim.fn.jobstart, command, options)
  if started and job > 0 then
    return job
  end
  fail('clsess: ' .. command[1] .. ' cannot be started: is it installed, and in the PATH?')
end

-- ---- the session's buffer ----

local function buffer_of(session)
  local buf = buffers[session]
  if buf and api.nvim_buf_is_loaded(buf) then
    return buf
  end
  if buf and api.nvim_buf_is_valid(buf) then
    api.nvim_buf_delete(buf, { force = true }) -- it was unloaded, and has the name
  end
  buf = api.nvim_create_buf(true, true)
  buffers[session] = buf
  api.nvim_buf_set_name(buf, 'clsess://' .. session)
  api.nvim_buf_set_var(buf, 'clsess_session', session)
  api.nvim_buf_set_option(buf, 'undolevels', -1)
  api.nvim_buf_set_option(buf, 'filetype', 'markdown')
  return buf
end

--- Shows the buffer's end in a window.
local function show(buf, modifiers)
  if vim.fn.bufwinid(buf) == -1 then
    local window = api.nvim_get_current_win()
    vim.cmd((modifiers ~= '' and modifiers or 'botright') .. ' sbuffer ' .. buf)
    api.nvim_set_current_win(window)
  end
  api.nvim_win_set_cursor(vim.fn.bufwinid(buf), { api.nvim_buf_line_count(buf), 0 })
end

--- Changes the buffer; the windows that show its end go on to do so.
local function change(buf, how)
  local last = api.nvim_buf_line_count(buf)
  local follow = vim.tbl_filter(function(window)
    return api.nvim_win_get_cursor(window)[1] == last
  end, vim.fn.win_findbuf(buf))
  how()
  for _, window in ipairs(follow) do
    api.nvim_win_set_cursor(window, { api.nvim_buf_line_count(buf), 0 })
  end
end

--- A place at the buffer's end for a turn: a mark where its answer goes, and one for what else is
--- said of it, so that turns that wait for each other do not mix.
local function begin(buf, heading)
  local turn = { buf = buf, said = '' }
  change(buf, function()
    local count = api.nvim_buf_line_count(buf)
    if count > LINES then
      api.nvim_buf_set_lines(buf, 0, count - LINES, false, {})
      count = LINES
    end
    local empty = count == 1 and api.nvim_buf_get_lines(buf, 0, 1, false)[1] == ''
    local at = empty and 0 or count
    api.nvim_buf_set_lines(buf, at, -1, false, { '> ' .. heading, '', '' })
    turn.answer = api.nvim_buf_set_extmark(buf, marks, at + 1, 0, {})
    turn.notes = api.nvim_buf_set_extmark(buf, marks, at + 2, 0, {})
  end)
  return turn
end

--- Puts what a job has said, as Neovim gives it, where the mark is.
local function add(turn, mark, data)
  if not api.nvim_buf_is_loaded(turn.buf) then
    return
  end
  local lines = vim.tbl_map(function(line)
    return (line:gsub('\n', '\0'))
  end, data)
  change(turn.buf, function()
    local row, column = unpack(api.nvim_buf_get_extmark_by_id(turn.buf, marks, mark, {}))
    api.nvim_buf_set_text(turn.buf, row, column, row, column, lines)
  end)
end

-- ---- commands ----

--- Runs a command of clsess for a session. What it prints comes into the session's buffer, below the
--- heading.
local function run(session, heading, arguments, input, modifiers)
  local turn
  local job = start(arguments, {
    on_stdout = function(_, data)
      add(turn, turn.answer, data)
    end,
    on_stderr = function(_, data)
      turn.said = (turn.said .. table.concat(data, '\n')):sub(-SAID)
      add(turn, turn.notes, data)
    end,
    on_exit = function(job, code)
      running[job] = nil
      if code ~= 0 then
        fail(turn.said ~= '' and turn.said or 'clsess: exit ' .. code)
      end
    end,
  })
  if not job then
    return
  end
  running[job] = session
  local buf = buffer_of(session)
  turn = begin(buf, heading)
  show(buf, modifiers)
  -- By stdin: everybody can read the arguments of a process. A line's "\n" is a NUL, here and there.
  vim.fn.chansend(job, input)
  vim.fn.chanclose(job, 'stdin')
  M.watch()
end

--- Sends a prompt, and the lines behind it, to a session, which is made where it is missing.
function M.send(session, prompt, lines, modifiers)
  local input = prompt ~= '' and vim.split(prompt, '\n', { plain = true }) or {}
  local heading = input[1] or ''
  if lines then
    if #input > 0 then
      input[#input + 1] = ''
    end
    heading = vim.trim(('%s (+ %d lines)'):format(heading, #lines))
    vim.list_extend(input, lines)
    input[#input + 1] = ''
  end
  local policy = vim.g.clsess_on_question or 'wait'
  local arguments = { 'send', '-A', '--stream', 'always', '--on-question', policy, '--', session }
  run(session, heading, arguments, input, modifiers or '')
end

--- Takes back what this editor waits for in the session, as Ctrl-C does.
function M.stop(session)
  for job, its in pairs(running) do
    if its == session then
      vim.loop.kill(vim.fn.jobpid(job), 'sigint')
    end
  end
end

--- `questions`, `approve` or `deny`, of a session; of this question where there are several.
function M.question(verb, session, id)
  run(session, 'clsess ' .. verb, { verb, '--', session, id }, {}, '')
end

-- ---- states ----

local function told(line)
  if not line:find('"event":"state"', 1, true) then
    return
  end
  local whole, event = pcall(vim.fn.json_decode, line)
  if whole and event.session then
    states[event.session] = event.state ~= 'gone' and event.state or nil
    vim.cmd('redrawstatus!')
  end
end

--- Follows the states of all sessions by one `clsess events`. The first prompt does it too.
function M.watch()
  local rest = ''
  watching = watching or start({ 'events', '--since', '0' }, {
    on_stdout = function(_, data)
      data[1] = #rest < LONGEST and rest .. data[1] or ''
      rest = table.remove(data)
      vim.tbl_map(told, data)
    end,
    on_exit = function()
      watching = nil
      states = {}
    end,
  })
end

--- The session's state, as clsess-ls(1) names it; '' where nothing is known.
function M.state(session)
  return states[session or M.session()] or ''
end

--- The sessions that are known.
function M.sessions()
  return vim.tbl_keys(states)
end

return M
