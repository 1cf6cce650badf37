;;; locks.el --- emacs -Q --script locks.el FOLDER FILE COMMAND...

;; Edits FILE, with Emacs' lock of it in FOLDER, and runs COMMAND before it gives that
;; up again.  Ends as COMMAND does; with 75, and with Emacs' own words, where somebody
;; else is editing FILE.

(let* ((folder (file-name-as-directory (pop command-line-args-left)))
       (file (pop command-line-args-left))
       (command command-line-args-left)
       (create-lockfiles t)
       (lock-file-name-transforms (list (list "\\`.*\\'" folder t)))
       (auto-save-default nil)
       (make-backup-files nil)
       status)
  (setq command-line-args-left nil)
  (find-file file)
  ;; The first change takes the lock.
  (condition-case why
      (insert "x")
    (error
     (message "%s" (error-message-string why))
     (kill-emacs 75)))
  (setq status (apply #'call-process (car command) nil nil nil (cdr command)))
  ;; A buffer without a change needs no lock.
  (set-buffer-modified-p nil)
  (kill-emacs (if (integerp status) status 99)))
