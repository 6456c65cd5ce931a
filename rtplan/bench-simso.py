"""SimSo on the bench's periodic tasks, rate monotonic on one CPU: prints jobs and seconds.

    bench-simso.py SECONDS-TO-SIMULATE C/T [C/T ...]        (times in milliseconds)
"""
import sys
import time

from simso.configuration import Configuration
from simso.core import Model

configuration = Configuration()
configuration.duration = int(float(sys.argv[1]) * 1000 * configuration.cycles_per_ms)
for number, text in enumerate(sys.argv[2:], 1):
    execution, period = map(float, text.split("/"))
    configuration.add_task(name=f"tau{number}", identifier=number, period=period,
                           activation_date=0, wcet=execution, deadline=period)
configuration.add_processor(name="CPU", identifier=1)
configuration.scheduler_info.clas = "simso.schedulers.RM"
configuration.check_all()
model = Model(configuration)
start = time.perf_counter()
model.run_model()
seconds = time.perf_counter() - start
print(sum(len(task.jobs) for task in model.results.tasks.values()), seconds)
