;;; clsess.el --- Prompts to warm Claude Code sessions  -*- lexical-binding: t; -*-

;; Author: The authors of clsess
;; Version: 0.1.0
;; Package-Requires: ((emacs "27.1"))
;; Keywords: tools, processes
;; SPDX-License-Identifier: MIT OR Apache-2.0

;;; Commentary:

;; Prompts to the sessions of clsess(1); what comes is in a buffer *clsess: NAME*.
;;
;;   M-x clsess-send           a prompt to the session of the project (C-u: to another one)
;;   M-x clsess-send-region    the same, with the region behind it
;;   M-x clsess-stop           take back what this Emacs waits for
;;   M-x clsess-questions      what the agent asks; clsess-approve, clsess-deny
;;   M-x clsess-state-mode     the state of the buffer's session in the mode line

;;; Code:

(require 'cl-lib)
(require 'subr-x)

(defgroup clsess nil
  "Warm Claude Code sessions."
  :group 'tools
  :prefix "clsess-")

(defcustom clsess-program "clsess"
  "The command."
  :type 'string)

(defcustom clsess-session nil
  "The session that prompts go to; nil: that of the project's directory."
  :type '(choice (const :tag "Named by the project" nil) string))

(defcustom clsess-on-question "wait"
  "What becomes of the agent's questions.
With \"wait\" they wait for `clsess-approve' and `clsess-deny'."
  :type '(choice (const "wait") (const "deny") (const "fail")))

(defconst clsess--size 1000000
  "Characters that a session's buffer keeps when the next prompt is sent.
The command clsess log has the others.")

(defconst clsess--said 4096
  "Characters that are kept to say why a command has failed.")

(defconst clsess--longest 65536
  "Characters of a line of clsess events; a longer one tells no state.")

(cl-defstruct clsess--turn
  "A prompt that was sent.
The text of its answer goes to the marker ANSWER, what else is said of it to
the marker NOTES, so that turns that wait for each other do not mix.  LEFT is
the number of its processes that have not ended."
  buffer answer notes (said "") (left 2) process)

(defvar clsess--states (make-hash-table :test #'equal)
  "The state of each session, as clsess events has told.")

(defvar clsess--watching nil
  "The process of clsess events.")

(defun clsess--project ()
  "The directory of the project: that of the nearest .git, or the current one."
  (when (file-remote-p default-directory)
    (user-error "The directory is on another machine, and clsess is on this one"))
  (expand-file-name
   (or (locate-dominating-file default-directory ".git") default-directory)))

(defun clsess-session-name ()
  "The session of the current buffer.
Without `clsess-session' it has the name that clsess new would give it in the
directory of the project."
  (or clsess-session
      (let* ((directory (directory-file-name (clsess--project)))
             (name (encode-coding-string (file-name-nondirectory directory) 'utf-8))
             (name (replace-regexp-in-string "[^A-Za-z0-9._-]" "-" name))
             (name (replace-regexp-in-string "\\`[^A-Za-z0-9]+" "" name)))
        (if (string-empty-p name) "session" (substring name 0 (min 56 (length name)))))))

(defun clsess--read-session ()
  "The name of a session: with a prefix argument it is asked for."
  (let ((session (clsess-session-name)))
    (if current-prefix-arg
        (completing-read (format "Session (%s): " session)
                         (hash-table-keys clsess--states) nil nil nil nil session)
      session)))

(defun clsess--start (name arguments &rest options)
  "Start clsess with ARGUMENTS as a process called NAME, with OPTIONS."
  (unless (executable-find clsess-program)
    (user-error "Cannot find %s: is it installed, and in the variable `exec-path'?"
                clsess-program))
  (let ((default-directory (clsess--project)))
    (apply #'make-process :name name :command (cons clsess-program arguments)
           :connection-type 'pipe :coding 'utf-8-unix :noquery t options)))

;;; The session's buffer

(define-derived-mode clsess-mode special-mode "clsess"
  "Major mode for what comes from a session of clsess."
  (buffer-disable-undo)
  (setq mode-line-process '(:eval (clsess-mode-line))))

(define-key clsess-mode-map (kbd "C-c C-c") #'clsess-send)
(define-key clsess-mode-map (kbd "C-c C-k") #'clsess-stop)

(defun clsess--buffer (session)
  "The buffer of SESSION."
  (let ((directory (clsess--project))
        (buffer (get-buffer-create (format "*clsess: %s*" session))))
    (with-current-buffer buffer
      (unless (derived-mode-p 'clsess-mode)
        (clsess-mode)
        (setq-local clsess-session session)
        (setq default-directory directory)))
    buffer))

(defun clsess--begin (session heading)
  "A place for a turn, below HEADING, at the end of the buffer of SESSION."
  (let ((buffer (clsess--buffer session)))
    (with-current-buffer buffer
      (save-excursion
        (let ((inhibit-read-only t))
          (when (> (buffer-size) clsess--size)
            (delete-region (point-min) (- (point-max) clsess--size)))
          (goto-char (point-max))
          (insert "> " heading "\n\n\n")
          (make-clsess--turn
           :buffer buffer
           :answer (copy-marker (- (point-max) 2) t)
           :notes (copy-marker (- (point-max) 1) t)))))))

(defun clsess--show (buffer)
  "Show the end of BUFFER in a window, and what comes behind it."
  (let ((window (display-buffer buffer)))
    (when window
      (set-window-point window (with-current-buffer buffer (point-max))))))

(defun clsess--add (turn marker text)
  "Insert TEXT at MARKER in the buffer of TURN."
  (when (buffer-live-p (clsess--turn-buffer turn))
    (with-current-buffer (clsess--turn-buffer turn)
      (save-excursion
        (let ((inhibit-read-only t))
          (goto-char marker)
          (insert text))))))

;;; Commands

(defun clsess--answers (process text)
  "Put TEXT, which PROCESS has printed, into its buffer."
  (let ((turn (process-get process 'clsess-turn)))
    (clsess--add turn (clsess--turn-answer turn) text)))

(defun clsess--notes (process text)
  "Put TEXT, which clsess has said to PROCESS, below the answer."
  (let* ((turn (process-get process 'clsess-turn))
         (said (concat (clsess--turn-said turn) text)))
    (setf (clsess--turn-said turn) (substring said (- (min clsess--said (length said)))))
    (clsess--add turn (clsess--turn-notes turn) (propertize text 'face 'shadow))))

(defun clsess--ended (process _event)
  "Say what went wrong in the turn of PROCESS, when all of it has come."
  (let ((turn (process-get process 'clsess-turn)))
    (when (and turn
               (not (process-live-p process))
               (zerop (cl-decf (clsess--turn-left turn))))
      (let ((code (process-exit-status (clsess--turn-process turn)))
            (said (string-trim (clsess--turn-said turn))))
        (unless (zerop code)
          (message "%s" (if (string-empty-p said) (format "clsess: exit %s" code) said)))))))

(defun clsess--run (session heading arguments input)
  "Run clsess with ARGUMENTS and INPUT for SESSION.
What it prints comes into the buffer of the session, below HEADING."
  (let* ((errors (make-pipe-process
                  :name "clsess errors" :noquery t :coding 'utf-8-unix
                  :filter #'clsess--notes :sentinel #'clsess--ended))
         (process (condition-case problem
                      (clsess--start
                       (concat "clsess " session) arguments :stderr errors
                       :filter #'clsess--answers :sentinel #'clsess--ended)
                    (error (delete-process errors)
                           (signal (car problem) (cdr problem)))))
         (turn (clsess--begin session heading)))
    (setf (clsess--turn-process turn) process)
    (process-put errors 'clsess-turn turn)
    (process-put process 'clsess-turn turn)
    (process-put process 'clsess-session session)
    (clsess--show (clsess--turn-buffer turn))
    (clsess-watch)
    ;; By stdin: everybody can read the arguments of a process.
    (condition-case nil
        (progn (process-send-string process input)
               (process-send-eof process))
      ;; It has ended before it has read all of it, and says why.
      (error nil))))

;;;###autoload
(defun clsess-send (prompt &optional session text)
  "Send PROMPT to SESSION, which is made where it is missing.
If TEXT is non-nil, it follows the prompt after a blank line.  Without SESSION
it is that of the current buffer; with a prefix argument it is asked for."
  (interactive (list (read-string "Prompt: ") (clsess--read-session)))
  (let ((session (or session (clsess-session-name)))
        (heading (car (split-string prompt "\n")))
        (input (if (and text (not (string-empty-p prompt)))
                   (concat prompt "\n\n" text)
                 (or text prompt))))
    (when text
      (setq heading (string-trim-left
                     (format "%s (+ %d characters)" heading (length text)))))
    (clsess--run session heading
                 (list "send" "-A" "--stream" "always"
                       "--on-question" clsess-on-question "--" session)
                 input)))

;;;###autoload
(defun clsess-send-region (start end prompt &optional session)
  "Send PROMPT, and the text from START to END behind it, to SESSION."
  (interactive (list (region-beginning) (region-end)
                     (read-string "Prompt: ") (clsess--read-session)))
  (clsess-send prompt session (buffer-substring-no-properties start end)))

(defun clsess-stop (session)
  "Take back what this Emacs waits for in SESSION."
  (interactive (list (clsess--read-session)))
  (dolist (process (process-list))
    (when (and (equal (process-get process 'clsess-session) session)
               (process-live-p process))
      (interrupt-process process))))

(defun clsess-questions (session)
  "Show what the agent of SESSION asks."
  (interactive (list (clsess--read-session)))
  (clsess--run session "clsess questions" (list "questions" "--" session) ""))

(defun clsess-approve (session)
  "Allow what the agent of SESSION asks for."
  (interactive (list (clsess--read-session)))
  (clsess--run session "clsess approve" (list "approve" "--" session) ""))

(defun clsess-deny (session)
  "Deny what the agent of SESSION asks for."
  (interactive (list (clsess--read-session)))
  (clsess--run session "clsess deny" (list "deny" "--" session) ""))

;;; States

(defun clsess--tells (process text)
  "Take the states out of TEXT, lines of clsess events, which PROCESS has printed."
  (let* ((rest (or (process-get process 'clsess-rest) ""))
         (lines (split-string (concat rest text) "\n"))
         (rest (car (last lines))))
    (process-put process 'clsess-rest (if (< (length rest) clsess--longest) rest ""))
    (dolist (line (butlast lines))
      (when (string-match-p "\"event\":\"state\"" line)
        (clsess--told line)))))

(defun clsess--told (line)
  "Take the state out of LINE."
  (let* ((event (ignore-errors (json-parse-string line :object-type 'alist)))
         (session (alist-get 'session event))
         (state (alist-get 'state event)))
    (cond ((not session))
          ((equal state "gone") (remhash session clsess--states))
          (t (puthash session state clsess--states)))
    (force-mode-line-update t)))

(defun clsess-watch ()
  "Follow the states of all sessions by one clsess events.
With the first prompt this happens anyway."
  (interactive)
  (unless (process-live-p clsess--watching)
    (clrhash clsess--states)
    (setq clsess--watching
          (clsess--start "clsess events" '("events" "--since" "0")
                         :filter #'clsess--tells
                         :sentinel #'clsess--lost))))

(defun clsess--lost (process _event)
  "Forget the states when PROCESS, which has told them, has ended."
  (when (and (eq process clsess--watching) (not (process-live-p process)))
    (clrhash clsess--states)
    (force-mode-line-update t)))

(defun clsess-state (&optional session)
  "The state of SESSION as clsess ls names it; nil where nothing is known."
  (gethash (or session (clsess-session-name)) clsess--states))

(defun clsess-mode-line ()
  "The state of the current buffer's session, for the mode line."
  (let ((state (unless (file-remote-p default-directory) (clsess-state))))
    (if state (concat " " state) "")))

;;;###autoload
(define-minor-mode clsess-state-mode
  "Show the state of the current buffer's session in the mode line."
  :global t
  (setq global-mode-string
        (delete '(:eval (clsess-mode-line)) (or global-mode-string '(""))))
  (when clsess-state-mode
    (setq global-mode-string
          (append global-mode-string '((:eval (clsess-mode-line)))))
    (clsess-watch)))

(provide 'clsess)

;;; clsess.el ends here
