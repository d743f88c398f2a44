from purepg.cli import main

main()
