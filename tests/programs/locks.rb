#!/usr/bin/ruby
# locks.rb flock try|hold|count NAME [FOLDER TIMES] - Ruby's File#flock; see locks.py.

_, action, name, folder, times = ARGV
$stdout.sync = true

# As increment.sh: who is inside must be alone from the first line to the last.
def increment(folder)
  me = Process.pid.to_s
  inside = "#{folder}/inside"
  counter = "#{folder}/counter"
  found = File.read(inside).chomp
  abort "#{found} is inside together with #{me}" unless found.empty?
  File.write(inside, "#{me}\n")
  number = File.read(counter).to_i
  sleep 0.001
  File.write(counter, "#{number + 1}\n")
  found = File.read(inside).chomp
  abort "#{found} came inside to #{me}" if found != me
  File.write(inside, "\n")
end

def with_lock(name)
  File.open(name, File::RDWR | File::CREAT) do |file|
    file.flock(File::LOCK_EX)
    yield
    file.flock(File::LOCK_UN)
  end
end

case action
when 'try'
  File.open(name, File::RDWR | File::CREAT) do |file|
    unless file.flock(File::LOCK_EX | File::LOCK_NB)
      puts 'held'
      exit 1
    end
  end
when 'hold'
  with_lock(name) do
    puts 'held'
    $stdin.read
  end
when 'count'
  Integer(times).times { with_lock(name) { increment(folder) } }
end
